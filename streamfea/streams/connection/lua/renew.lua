-- Keep entries that are still being worked on: their idle time starts anew.
--
-- KEYS  stream
-- ARGV  group, consumer, ids
-- Reply the ids of those that were not ours any more
--
-- Atomic, so that an entry that another consumer has claimed meanwhile is not taken from it.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]

local lost = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
    if delivery and delivery[2] == consumer then
        redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', 0, 'JUSTID')
    else
        lost[#lost + 1] = id
    end
end
return lost
