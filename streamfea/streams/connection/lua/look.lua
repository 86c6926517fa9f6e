-- Tell all figures of a group, as of one moment.
--
-- KEYS  stream, errors hash, dead letters
-- ARGV  group, number of entries to look at one by one at most, the same for rows of the errors hash, the same for the lag
--       where the server has a figure of it, milliseconds after which a pending entry is due
-- Reply {number of commands that this took, entries in the stream, dead letters, rows in the errors hash,
--        entries after the last delivered one (the number to look at, if there are as many), id of the first of them,
--        0 if there is no such group, else 1, entries-read, lag (nil where the server does not say), pending,
--        id of the oldest pending entry, number of pending entries with a row, of those with a row or due
--        (both -1 if there are too many to look at), names and last times of the consumers}
--
-- Atomic, so that the figures fit together; a script, so that the entries themselves need not travel. XINFO STREAM FULL
-- tells at once what XLEN, XINFO GROUPS, XINFO CONSUMERS and XPENDING tell in four commands.
local stream, errors, dead = KEYS[1], KEYS[2], KEYS[3]
local group, most, most_rows = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local told_lag_from, due_after = tonumber(ARGV[4]), tonumber(ARGV[5])

local ran = 1
local function run(...)
    ran = ran + 1
    return redis.call(...)
end

local function named(pairs_in_a_row)
    local members = {}
    for i = 1, #pairs_in_a_row, 2 do
        members[pairs_in_a_row[i]] = pairs_in_a_row[i + 1]
    end
    return members
end

-- Return the rows of the errors hash, as a set, and their number; of very many, the number only.
local function rows_of_errors()
    local rows, number, cursor, size = {}, 0, '0', 100
    repeat
        local page = run('HSCAN', errors, cursor, 'COUNT', size)
        for i = 1, #page[2], 2 do
            rows[page[2][i]] = true
        end
        if cursor == '0' and page[1] ~= '0' then -- there are more than the first page has
            number, size = run('HLEN', errors), most_rows
            if number > most_rows then
                return nil, number
            end
        end
        cursor = page[1]
    until cursor == '0'
    return rows, number
end

local about = redis.pcall('XINFO', 'STREAM', stream, 'FULL', 'COUNT', 1)
ran = ran + 1
if about.err and not string.find(about.err, 'no such key', 1, true) then
    return about
end
local letters = run('XLEN', dead)
if about.err then
    return { ran, 0, letters, 0, 0, '', 0 }
end
about = named(about)

local ours
for _, one in ipairs(about['groups']) do
    one = named(one)
    if one['name'] == group then
        ours = one
    end
end
if not ours then
    local first = about['entries'][1]
    return { ran, about['length'], letters, 0, 0, first and first[1] or '', 0 }
end

local after, first = 0, ''
if ours['last-delivered-id'] ~= about['last-generated-id'] then
    local count = ours['lag'] and told_lag_from or most
    local entries = run('XRANGE', stream, '(' .. ours['last-delivered-id'], '+', 'COUNT', count)
    after, first = #entries, entries[1] and entries[1][1] or ''
end

local pending, oldest = ours['pel-count'], ours['pending'][1]
local rows, retrying, waiting = 0, 0, 0
if pending > 0 then
    local has_row
    has_row, rows = rows_of_errors()
    if pending > most or not has_row then
        retrying, waiting = -1, -1
    else
        for _, entry in ipairs(run('XPENDING', stream, group, '-', '+', pending)) do
            if has_row[entry[1]] then
                retrying = retrying + 1
            end
            if has_row[entry[1]] or entry[3] >= due_after then
                waiting = waiting + 1
            end
        end
    end
end

local names, seen = {}, {}
for i, consumer in ipairs(ours['consumers']) do
    consumer = named(consumer)
    names[i], seen[i] = consumer['name'], consumer['seen-time']
end
return {
    ran, about['length'], letters, rows, after, first,
    1, ours['entries-read'] or false, ours['lag'] or false, pending, oldest and oldest[1] or '', retrying, waiting,
    names, seen,
}
