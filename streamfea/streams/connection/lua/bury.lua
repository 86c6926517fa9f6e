-- Move an entry to the dead-letter stream.
--
-- KEYS  stream, dead-letter stream, errors hash
-- ARGV  group, consumer, id, number of provenance arguments, provenance (field, value, ...),
--       the entry's fields as they were read (field, value, ...), used when the stream has lost the entry
-- Reply 1; 0 when the entry is not ours any more; if it is not even pending, no last error is left of it
--
-- Atomic, so that an entry is always either pending or a dead letter, never both and never neither.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, dead, errors = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, id, provenance = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
if not delivery or delivery[2] ~= consumer then
    if not delivery then
        redis.call('HDEL', errors, id)
    end
    return 0
end
local letter = {}
local entry = redis.call('XRANGE', stream, id, id)[1]
for _, value in ipairs(entry and entry[2] or { unpack(ARGV, 5 + provenance) }) do
    letter[#letter + 1] = value
end
for i = 5, 4 + provenance do
    letter[#letter + 1] = ARGV[i]
end
redis.call('XADD', dead, '*', unpack(letter))
redis.call('XACK', stream, group, id)
redis.call('HDEL', errors, id)
return 1
