-- Create a group at the beginning of its stream, and the stream, unless they are there; find or make the stream's mark.
--
-- KEYS  stream, errors hash
-- ARGV  group, what the names of marks begin with, number of a new mark, oldest entry id that was looked up, number of
--       the mark that the stream with this entry had
-- Reply {number of the mark, 1 when the group was created, else 0}; {'', oldest entry id} when the group is there without
--       a mark and that id was not looked up, and then nothing is changed
--
-- Atomic, so that all consumers find the same mark, and none of them reads before there is one. A mark is a group that
-- nobody reads: it goes where the stream goes. As if it had been given all there will ever be, it keeps nothing from
-- being trimmed. A group without a mark is of a version that made none, of a server that has forgotten the mark, or
-- somebody has made it in advance.
redis.replicate_commands() -- 6.2 refuses to write after XINFO otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, prefix = ARGV[1], ARGV[2]

local mark, is_there = nil, false
for _, about in ipairs(redis.call('EXISTS', stream) == 1 and redis.call('XINFO', 'GROUPS', stream) or {}) do
    local name
    for i = 1, #about, 2 do
        name = about[i] == 'name' and about[i + 1] or name
    end
    is_there = is_there or name == group
    if not mark and name:sub(1, #prefix) == prefix then
        mark = name:sub(#prefix + 1)
    end
end
if not mark then
    local oldest = is_there and redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if oldest and oldest[1] ~= ARGV[4] then
        return { '', oldest[1] }
    end
    mark = oldest and ARGV[5] or ARGV[3]
    local end_of_ids = '18446744073709551615-18446744073709551615'
    redis.call('XGROUP', 'CREATE', stream, prefix .. mark, end_of_ids, 'MKSTREAM')
end
if not is_there then
    redis.call('XGROUP', 'CREATE', stream, group, '0')
    redis.call('DEL', errors) -- of entries of the group that was here before; this one delivers those afresh
end
return { mark, is_there and 0 or 1 }
