-- Remove a consumer from its group if nothing is pending for it and it has not been seen for a while.
--
-- KEYS  stream
-- ARGV  group, consumer, time since it was last seen (ms) at least
-- Reply 1, also when there is no such consumer; 0 when something is pending for it or it was seen, and then nothing
--       is changed
--
-- Atomic, because XGROUP DELCONSUMER drops what is pending, and that would be lost.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream = KEYS[1]
local group, consumer, idle = ARGV[1], ARGV[2], tonumber(ARGV[3])

if #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) > 0 then
    return 0
end
for _, reply in ipairs(idle > 0 and redis.call('XINFO', 'CONSUMERS', stream, group) or {}) do
    local member = {}
    for i = 1, #reply, 2 do
        member[reply[i]] = reply[i + 1]
    end
    if member['name'] == consumer and member['idle'] < idle then
        return 0
    end
end
redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
return 1
