-- Count a delivery of an entry that is to run alone, and note that it does, before it runs.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, id, note (JSON) to keep in the errors hash while it runs
-- Reply {deliveries, {field, value, ...}}; false when the entry is not ours any more;
--       {deliveries} when it was deleted from the stream: it is acknowledged then
--
-- Atomic, so that a worker which finds the entry after a crash can tell that this entry's own run died.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]

local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
if not delivery or delivery[2] ~= consumer then
    if not delivery then
        redis.call('HDEL', errors, id)
    end
    return false
end
local entry = redis.call('XRANGE', stream, id, id)[1]
if not entry then
    redis.call('XACK', stream, group, id)
    redis.call('HDEL', errors, id)
    return { delivery[4] }
end
redis.call('XCLAIM', stream, group, consumer, 0, id)
redis.call('HSET', errors, id, ARGV[4])
return { delivery[4] + 1, entry[2] }
