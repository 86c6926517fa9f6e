-- Be the one process that consumes under a name, for a while; or give the name back.
--
-- KEYS  the name's key
-- ARGV  who is asking, for how long (ms); 0 gives it back
-- Reply '' when the name is, or was, the asker's; else who has it, and then nothing is changed
--
-- Atomic, so that a name that went to another process meanwhile is not taken from it.
local key, asker, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', key)
if holder and holder ~= asker then
    return holder
end
if lifetime > 0 then
    redis.call('SET', key, asker, 'PX', lifetime)
else
    redis.call('DEL', key)
end
return ''
