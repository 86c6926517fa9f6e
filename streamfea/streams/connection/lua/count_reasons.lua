-- Count a page of dead letters by their reason.
--
-- KEYS  dead letters
-- ARGV  start of the range, in XRANGE's notation, number of letters at most, name of the field that has the reason
-- Reply {number of commands that this took, letters there are at all, letters in the page, their bytes, id of the last,
--        reason, number, reason, number, ...}
--
-- Atomic, so that the number of all letters fits the page; a script, so that the letters need not travel.
local letters = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])

local bytes, last, counts = 0, '', {}
for _, letter in ipairs(letters) do
    local reason = ''
    for i = 1, #letter[2], 2 do
        local name, value = letter[2][i], letter[2][i + 1]
        bytes = bytes + #name + #value
        if name == ARGV[3] then
            reason = value -- the last one: an entry's own field may be called likewise
        end
    end
    counts[reason] = (counts[reason] or 0) + 1
    last = letter[1]
end

local reply = { 3, redis.call('XLEN', KEYS[1]), #letters, bytes, last }
for reason, number in pairs(counts) do
    reply[#reply + 1] = reason
    reply[#reply + 1] = number
end
return reply
