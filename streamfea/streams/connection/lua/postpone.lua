-- Keep an entry's last error and let it be claimed again only after a while.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, id, idle time to give it (ms), last error (JSON)
-- Reply 1; 0 when the entry is not ours any more; if it is not even pending, no last error is left of it
--
-- Atomic, so that an error is kept exactly as long as its entry is pending.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]

local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
local ours = delivery and delivery[2] == consumer
-- Since 7.0, claiming what is deleted from the stream takes it from what is pending.
if ours and #redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', ARGV[4], 'JUSTID') == 0 then
    ours, delivery = false, nil
end
if not delivery then
    redis.call('HDEL', errors, id)
end
if not ours then
    return 0
end
redis.call('HSET', errors, id, ARGV[5])
return 1
