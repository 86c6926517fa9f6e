-- Be the one process that consumes under a name, for a while; or give the name back.
--
-- KEYS  the name's key
-- ARGV  the asker's token, for how long (ms); 0 gives it back, what to note of the asker (its token being
--       the third word) and, while it runs a record, the id of the entry, for how long it has run (ms)
-- Reply '' when the name is, or was, the asker's; else who has it, and then nothing is changed
--
-- Atomic, so that a name that went to another process meanwhile is not taken from it.
redis.replicate_commands() -- 6.2 refuses to write after TIME otherwise; later versions always do this
local key, token, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', key)
if holder and holder:match('^%S+ %S+ (%S+)') ~= token then
    return holder
end
if lifetime > 0 then
    local note = ARGV[3]
    if ARGV[4] then
        local time = redis.call('TIME')
        note = string.format('%s %s %.0f', note, ARGV[4], time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[5])
    end
    redis.call('SET', key, note, 'PX', lifetime)
else
    redis.call('DEL', key)
end
return ''
