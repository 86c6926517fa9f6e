-- Take over entries that nobody has touched for a while, without counting a delivery.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, minimum idle time (ms), cursor, number of entries to look at
-- Reply {next cursor, {{id, deliveries, last error or ''}, ...}}
--
-- Atomic, because an entry whose retry is not due yet must go back before anyone can see it as ours.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, min_idle = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local page = redis.call('XAUTOCLAIM', stream, group, consumer, min_idle, ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
local claimed = {}
for _, id in ipairs(page[2]) do
    local last_error = redis.call('HGET', errors, id) or ''
    local wait = last_error ~= '' and (cjson.decode(last_error).due_ms - now) or 0
    if wait > 0 then
        redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', math.max(0, min_idle - wait), 'JUSTID')
    else
        local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
        claimed[#claimed + 1] = { id, delivery[4], last_error }
    end
end
return { page[1], claimed }
