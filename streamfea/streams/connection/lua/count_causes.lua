-- Count a page of the dead letters by the cause of their failure.
--
-- KEYS  dead-letter stream
-- ARGV  id to begin with, the last id, number of letters
-- Reply {number of letters, id of the last of them or '', then for each cause, in the order in which they come:
--       cause ('' where a letter names none), count, id of the first letter, id of the last}
--
-- On the server, since records and tracebacks are a thousand times as long as what is counted.
local page = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])

local found, by_cause = {}, {}
for _, letter in ipairs(page) do
    local fields, cause = letter[2], ''
    -- It is among the last fields; a producer's field may be called likewise, and comes before.
    for at = #fields - 1, math.max(1, #fields - 31), -2 do
        if fields[at] == 'streamfea-cause' then
            cause = fields[at + 1]
            break
        end
    end
    local seen = by_cause[cause]
    if not seen then
        seen = { cause, 0, letter[1], letter[1] }
        by_cause[cause], found[#found + 1] = seen, seen
    end
    seen[2], seen[4] = seen[2] + 1, letter[1]
end

local reply = { #page, #page > 0 and page[#page][1] or '' }
for _, seen in ipairs(found) do
    reply[#reply + 1] = seen
end
return reply
