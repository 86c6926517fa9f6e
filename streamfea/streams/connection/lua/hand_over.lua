-- Take deliveries back: entries get the idle time, delivery counts and last errors that they shall have. With an idle
-- time of claim_idle, other consumers may take them over at once.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, idle time to give them (ms), then id, delivery count and last error ('' for none) of each
-- Reply how many were still ours
--
-- Atomic, so that an entry that another consumer has claimed meanwhile is not taken from it.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer = ARGV[1], ARGV[2]

local handed = 0
for i = 4, #ARGV, 3 do
    local id, deliveries, last_error = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
    if delivery and delivery[2] == consumer then
        local left = redis.call(
            'XCLAIM', stream, group, consumer, 0, id, 'IDLE', ARGV[3], 'RETRYCOUNT', deliveries, 'JUSTID'
        )
        if last_error == '' or #left == 0 then
            redis.call('HDEL', errors, id)
        else
            redis.call('HSET', errors, id, last_error)
        end
        handed = handed + 1
    elseif not delivery then
        redis.call('HDEL', errors, id)
    end
end
return handed
