-- Set a group back to the beginning of its stream, unless one of its consumers is at work.
--
-- KEYS  stream, errors hash
-- ARGV  group, milliseconds within which a consumer that was seen counts as at work; 0 for none does
-- Reply the names of the consumers at work, and then nothing is changed; an empty list when it is done
--
-- Atomic, because everything in the stream is unread again before what is pending is dropped: nothing can be read,
-- acknowledged or trimmed in between. XGROUP SETID comes first for the same reason: should a later command fail, there
-- are entries too many, never too few.
redis.replicate_commands() -- 6.2 refuses to write after XINFO otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, at_work_ms = ARGV[1], tonumber(ARGV[2])

local names, busy = {}, {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local about = {}
    for i = 1, #consumer, 2 do
        about[consumer[i]] = consumer[i + 1]
    end
    names[#names + 1] = about['name']
    if about['idle'] < at_work_ms then
        busy[#busy + 1] = about['name']
    end
end
if #busy > 0 then
    return busy
end
redis.call('XGROUP', 'SETID', stream, group, '0')
for _, name in ipairs(names) do
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
end
redis.call('DEL', errors)
return {}
