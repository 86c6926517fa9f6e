-- Move elements from the right end of a list, where the oldest are, to the end of a stream.
--
-- KEYS  list, stream
-- ARGV  field that gets the element, number of elements to move at most, number of bytes after which to stop
-- Reply the number of elements moved; an error when one of the keys is of another type, and then nothing is changed
--
-- Atomic, so that an element is always either in the list or in the stream, and several of us keep the list's order.
-- What a script has written is not undone when it fails later, therefore what can fail is tried first, and an element
-- is removed only once it has been added.
redis.replicate_commands() -- 6.2 refuses to write after LRANGE or TYPE otherwise; later versions always do this
local list, stream = KEYS[1], KEYS[2]
local field, count, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local longest_read = 64 -- elements may be huge, and their size is not known before they are read

local function wrong_type(key, kind, wanted)
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. wanted)
end

local kind = redis.call('TYPE', list)['ok']
if kind == 'none' then
    return 0
elseif kind ~= 'list' then
    return wrong_type(list, kind, 'list')
end
kind = redis.call('TYPE', stream)['ok']
if kind ~= 'none' and kind ~= 'stream' then
    return wrong_type(stream, kind, 'stream')
end
-- Removes nothing, but fails without the permission to remove. Also the first write of the script: a server at
-- maxmemory refuses to add only in a script that has not written yet. Moving needs no more memory, and is what lets
-- that server get rid of the elements at last.
redis.call('LTRIM', list, 0, -1)

local moved, size, take = 0, 0, 1
while moved < count and size < bytes do
    local elements = redis.call('LRANGE', list, -math.min(take, count - moved), -1)
    local added, failure = 0, nil
    for i = #elements, 1, -1 do
        local reply = redis.pcall('XADD', stream, '*', field, elements[i])
        if type(reply) == 'table' and reply['err'] then
            failure = reply
            break
        end
        added = added + 1
        size = size + #elements[i]
        if size >= bytes then
            break
        end
    end
    if added > 0 then
        redis.call('LTRIM', list, 0, -1 - added)
    end
    moved = moved + added
    if failure and moved == 0 then
        return failure
    end
    if failure or #elements == 0 then
        break
    end
    take = math.min(2 * take, longest_read)
end
return moved
