-- Take over entries that nobody has touched for a while, without counting a delivery.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, minimum idle time (ms), where to begin, in XPENDING's notation, number of entries to claim at
--       most, number to look at at most
-- Reply {where to go on: '-' at the end, {{id, deliveries, last error or '', consumer that had it}, ...}}
--
-- Atomic, because an entry whose retry is not due yet must go back before anyone can see it as ours. XPENDING and
-- XCLAIM instead of XAUTOCLAIM, because that does not tell who had an entry.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, min_idle = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count, page = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local following, looked, claimed = '-', 0, {}
for _, delivery in ipairs(redis.call('XPENDING', stream, group, ARGV[4], '+', page)) do
    local id = delivery[1]
    looked = looked + 1
    if delivery[3] >= min_idle then
        local last_error = redis.call('HGET', errors, id) or ''
        local wait = last_error ~= '' and (cjson.decode(last_error).due_ms - now) or 0
        local idle = wait > 0 and math.max(0, min_idle - wait) or 0
        local ours = redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', idle, 'JUSTID')
        if #ours == 0 then -- deleted from the stream: since 7.0 it is not pending any more then
            redis.call('HDEL', errors, id)
        elseif wait <= 0 then
            claimed[#claimed + 1] = { id, delivery[4], last_error, delivery[2] }
        end
    end
    if looked == page or #claimed == count then
        following = '(' .. id
        break
    end
end
return { following, claimed }
