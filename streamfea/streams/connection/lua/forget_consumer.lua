-- Remove consumers from their group for which nothing is pending and which have not been seen for a while.
--
-- KEYS  stream
-- ARGV  group, time since they were last seen (ms) at least, consumers
-- Reply 1 for each in order, also when there is no such consumer; 0 when something is pending for it or it was seen, and
--       then it stays
--
-- Atomic, because XGROUP DELCONSUMER drops what is pending, and that would be lost. Several at once, because
-- XINFO answers for all consumers of the group, and there may be thousands.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream = KEYS[1]
local group, idle = ARGV[1], tonumber(ARGV[2])

local seen = {}
for _, reply in ipairs(idle > 0 and redis.call('XINFO', 'CONSUMERS', stream, group) or {}) do
    local member = {}
    for i = 1, #reply, 2 do
        member[reply[i]] = reply[i + 1]
    end
    seen[member['name']] = member['idle'] < idle
end
local gone = {}
for i = 3, #ARGV do
    if seen[ARGV[i]] or #redis.call('XPENDING', stream, group, '-', '+', 1, ARGV[i]) > 0 then
        gone[#gone + 1] = 0
    else
        redis.call('XGROUP', 'DELCONSUMER', stream, group, ARGV[i])
        gone[#gone + 1] = 1
    end
end
return gone
