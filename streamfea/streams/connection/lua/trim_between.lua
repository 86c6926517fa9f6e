-- Remove, or count, entries that every group has acknowledged, among others that are pending.
--
-- KEYS  stream
-- ARGV  where to begin, in XRANGE's notation, age (ms) that entries must have, length that the stream keeps, number
--       to look at at most, 1 to remove and 0 to count, group that must exist, or '', what the names of groups begin
--       with that are marks and nobody's
-- Reply {how many were removed or counted, where to go on: '' at the end}
--
-- Atomic, because a group that is created, or set back, after the groups were looked at would lose entries.
redis.replicate_commands() -- 6.2 refuses to write after XINFO or TIME otherwise; later versions always do this
local stream = KEYS[1]
local start, age, keep, page = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local remove, found, marks = ARGV[5] == '1', ARGV[6] == '', ARGV[7]

-- Both halves of an id have 64 bits, more than Lua's numbers: compare them as text.
local function smaller(a, b)
    return #a < #b or (#a == #b and a < b)
end
local function before(a, b)
    local a_time, a_number = a:match('(%d+)-(%d+)')
    local b_time, b_number = b:match('(%d+)-(%d+)')
    return smaller(a_time, b_time) or (a_time == b_time and smaller(a_number, b_number))
end

if redis.call('EXISTS', stream) == 0 then
    return { 0, '' }
end
local groups, last = {}, nil
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for i = 1, #reply, 2 do
        group[reply[i]] = reply[i + 1]
    end
    if group['name']:sub(1, #marks) ~= marks then
        groups[#groups + 1] = group['name']
        found = found or group['name'] == ARGV[6]
        if not last or before(group['last-delivered-id'], last) then
            last = group['last-delivered-id']
        end
    end
end
if not last or not found then
    return { 0, '' }
end
if age > 0 then
    local time = redis.call('TIME')
    local newest = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - age))
    last = before(newest, last) and newest or last
end
local most = page
if keep > 0 then
    most = redis.call('XLEN', stream) - keep
    if most <= 0 then
        return { 0, '' }
    end
end

local entries = redis.call('XRANGE', stream, start, last, 'COUNT', page)
if #entries == 0 then
    return { 0, '' }
end
local first, final = entries[1][1], entries[#entries][1]
local pending = {}
for _, group in ipairs(groups) do
    local from = first
    repeat
        local found = redis.call('XPENDING', stream, group, from, final, page)
        for _, delivery in ipairs(found) do
            pending[delivery[1]] = true
        end
        from = #found > 0 and '(' .. found[#found][1]
    until #found < page
end
local done = {}
for _, entry in ipairs(entries) do
    if #done < most and not pending[entry[1]] then
        done[#done + 1] = entry[1]
    end
end
if remove and #done > 0 then
    redis.call('XDEL', stream, unpack(done))
end
return { #done, #entries == page and '(' .. final or '' }
