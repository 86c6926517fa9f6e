-- Put dead letters' own fields back at the end of the stream, and remove the letters.
--
-- KEYS  dead-letter stream, stream
-- ARGV  number of bytes after which to stop, name of the field with which what is not the entry's own begins, ids
-- Reply a list that has, for each id that was dealt with, in order: the id of the entry that it has become, '' when
--       there is no such letter, '-' when it has no fields of its own, and then it stays; only '+' when the first has
--       more than Lua can pass on, an error when it cannot be put back, and then nothing is changed
--
-- Atomic, so that an entry is always either dead or back, never both and never neither. What a script has written is
-- not undone when it fails later, therefore what can fail is tried first, and a letter is removed only once its entry
-- has been added.
redis.replicate_commands() -- 6.2 refuses to write after XRANGE otherwise; later versions always do this
local dead, stream = KEYS[1], KEYS[2]
local bytes, first_of_ours = tonumber(ARGV[1]), ARGV[2]

-- Removes nothing, but fails without the permission to remove. Also the first write of the script: a server at
-- maxmemory refuses to add only in a script that has not written yet, and what is moved needs no more memory.
redis.call('XDEL', dead, '0-0')

local function own_fields(letter)
    -- Ours come last; a producer's field may have the same name as one of them.
    local length = #letter
    for i = 1, #letter, 2 do
        length = letter[i] == first_of_ours and i - 1 or length
    end
    return { unpack(letter, 1, math.min(length, 7001)) }
end

local done, size = {}, 0
for i = 3, #ARGV do
    local letter = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
    if not letter then
        done[#done + 1] = ''
    else
        for _, part in ipairs(letter[2]) do
            size = size + #part
        end
        local fields = own_fields(letter[2])
        if #fields == 0 then
            done[#done + 1] = '-'
        elseif #fields > 7000 then -- LUAI_MAXCSTACK is 8000
            return #done == 0 and { '+' } or done
        else
            local added = redis.pcall('XADD', stream, '*', unpack(fields))
            if type(added) == 'table' and added['err'] then
                return #done == 0 and added or done
            end
            redis.call('XDEL', dead, ARGV[i])
            done[#done + 1] = added
        end
        if size >= bytes then
            break
        end
    end
end
return done
