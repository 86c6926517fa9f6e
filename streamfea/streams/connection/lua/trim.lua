-- Remove entries from a stream's beginning, up to the first that a group has not acknowledged.
--
-- KEYS  stream
-- ARGV  age (ms) that entries must have to be removed, length that the stream keeps, number to remove at most,
--       number to look at at most when less than one of the stream's inner nodes can go, group that must exist, or '',
--       what the names of groups begin with that are marks and nobody's
-- Reply how many were removed; 0 when there is no more to remove here, or no group
--
-- Atomic, because a group that is created, or set back, after the groups were looked at would lose entries.
redis.replicate_commands() -- 6.2 refuses to write after XINFO or TIME otherwise; later versions always do this
local stream = KEYS[1]
local age, keep, limit, page = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local needed, marks = ARGV[5], ARGV[6]

-- Both halves of an id have 64 bits, more than Lua's numbers: compare and count them as text.
local function smaller(a, b)
    return #a < #b or (#a == #b and a < b)
end
local function before(a, b)
    local a_time, a_number = a:match('(%d+)-(%d+)')
    local b_time, b_number = b:match('(%d+)-(%d+)')
    return smaller(a_time, b_time) or (a_time == b_time and smaller(a_number, b_number))
end
local function plus_one(digits)
    local head, digit, nines = digits:match('^(%d-)(%d?)(9*)$')
    return head .. (digit == '' and '1' or tostring(digit + 1)) .. nines:gsub('9', '0')
end
local function after(id)
    local time, number = id:match('(%d+)-(%d+)')
    if number == '18446744073709551615' then
        return plus_one(time) .. '-0'
    end
    return time .. '-' .. plus_one(number)
end

if redis.call('EXISTS', stream) == 0 then
    return 0
end
-- A group may be set back behind what is pending for it: both bounds count.
local bound, found = nil, needed == ''
local function lower(id)
    if not bound or before(id, bound) then
        bound = id
    end
end
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for i = 1, #reply, 2 do
        group[reply[i]] = reply[i + 1]
    end
    if group['name']:sub(1, #marks) ~= marks then
        found = found or group['name'] == needed
        lower(after(group['last-delivered-id']))
        local oldest = redis.call('XPENDING', stream, group['name'], '-', '+', 1)[1]
        if oldest then
            lower(oldest[1])
        end
    end
end
if not bound or not found then
    return 0
end
if age > 0 then
    local time = redis.call('TIME')
    lower(string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - age)))
end
if keep > 0 then
    limit = math.min(limit, redis.call('XLEN', stream) - keep)
    if limit <= 0 then
        return 0
    end
end

-- Whole nodes of a hundred entries or so cost next to nothing; one by one what is left of the last.
local removed = redis.call('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', limit)
if removed > 0 then
    return removed
end
local rest = redis.call('XRANGE', stream, '-', '(' .. bound, 'COUNT', math.min(limit, page))
if #rest == 0 then
    return 0
end
return redis.call('XTRIM', stream, 'MINID', '=', after(rest[#rest][1]))
