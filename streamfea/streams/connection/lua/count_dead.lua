-- Count a page of dead letters by the value of one of the fields that say where a letter comes from.
--
-- KEYS  dead letters
-- ARGV  the first id and the last, in XRANGE's notation, number of letters at most, name of the field
-- Reply {number of commands that this took, letters there are at all, letters in the page, their bytes, id of the last or
--        '', then for each value, in the order in which they come: {value ('' where a letter has none), number of
--        letters, id of the first, id of the last}, ...}
--
-- Atomic, so that the number of all letters fits the page; a script, so that the letters need not travel: records and
-- tracebacks are a thousand times as long as what is counted.
local letters = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])

local bytes, last, found, by_value = 0, '', {}, {}
for _, letter in ipairs(letters) do
    local value = ''
    for i = 1, #letter[2], 2 do
        bytes = bytes + #letter[2][i] + #letter[2][i + 1]
        if letter[2][i] == ARGV[4] then
            value = letter[2][i + 1] -- the last one: an entry's own field may be called likewise
        end
    end
    last = letter[1]
    local seen = by_value[value]
    if not seen then
        seen = { value, 0, last, last }
        by_value[value], found[#found + 1] = seen, seen
    end
    seen[2], seen[4] = seen[2] + 1, last
end

local reply = { 3, redis.call('XLEN', KEYS[1]), #letters, bytes, last }
for _, seen in ipairs(found) do
    reply[#reply + 1] = seen
end
return reply
