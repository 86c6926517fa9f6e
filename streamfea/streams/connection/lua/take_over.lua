-- Take over what a consumer that is known to be dead has left, at once and without counting a delivery.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, name of the dead consumer, number of entries to look at, from which id on
-- Reply {id of the last one looked at or '', {{id, deliveries, last error or ''}, ...}}, oldest first
--
-- Entries that wait for a retry stay as they are: they come back by themselves. The dead consumer may have had the
-- same name.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, dead = ARGV[1], ARGV[2], ARGV[3]

local claimed, last = {}, ''
for _, delivery in ipairs(redis.call('XPENDING', stream, group, ARGV[5], '+', ARGV[4], dead)) do
    local id = delivery[1]
    last = id
    local last_error = redis.call('HGET', errors, id) or ''
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', delivery[3], 'JUSTID')
    if last_error == '' or cjson.decode(last_error).alone then
        redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', 0, 'JUSTID')
        claimed[#claimed + 1] = { id, delivery[4], last_error }
    end
end
return { last, claimed }
