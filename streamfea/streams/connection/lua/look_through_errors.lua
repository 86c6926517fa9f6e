-- Look through a page of the errors hash; a row whose entry is not pending is rubbish: others have acknowledged it.
--
-- KEYS  stream, errors hash
-- ARGV  group, cursor of HSCAN, 1 to remove rubbish, 0 to count only
-- Reply {cursor to go on with: '0' at the end, number of rows whose entries are pending}
--
-- Atomic, so that a row that comes to be at this moment is seen with its entry.
redis.replicate_commands() -- 6.2 refuses to write after HSCAN or XPENDING otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local page = redis.call('HSCAN', errors, ARGV[2], 'COUNT', 100)

local pending = 0
for i = 1, #page[2], 2 do
    local id = page[2][i]
    if #redis.call('XPENDING', stream, ARGV[1], id, id, 1) > 0 then
        pending = pending + 1
    elseif ARGV[3] == '1' then
        redis.call('HDEL', errors, id)
    end
end
return { page[1], pending }
