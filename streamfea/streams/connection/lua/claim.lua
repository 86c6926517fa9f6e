-- Take over entries that nobody has touched for a while, without counting a delivery.
--
-- KEYS  stream, errors hash
-- ARGV  group, consumer, minimum idle time (ms), where to begin, as XAUTOCLAIM tells it, number of entries to claim at
--       most, number that may turn out not to be due yet
-- Reply {where to go on: '0-0' at the end, {{id, deliveries, last error or '', consumer that had it}, ...}}
--
-- Atomic, because an entry whose retry is not due yet must go back before anyone can see it as ours, and because
-- XAUTOCLAIM does not tell who had an entry: XPENDING does, right before. Passing over those that are not idle takes
-- the server some ten nanoseconds each, so that thousands that wait do not delay those that are due.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, consumer, min_idle = ARGV[1], ARGV[2], tonumber(ARGV[3])
local cursor, count, most = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- In a script of 6.2 the clock goes on: an entry may become idle between two commands.
local nearly_idle = math.max(0, min_idle - 100)

-- Returns who has each of the next `page` entries, from which of them on to claim how many, and where to go on if none.
local function look(page)
    local deliveries, first, number, following = {}, nil, 0, '0-0'
    local reply = redis.call('XPENDING', stream, group, 'IDLE', nearly_idle, cursor, '+', page)
    for _, delivery in ipairs(reply) do
        deliveries[delivery[1]] = delivery
        if delivery[3] >= min_idle then
            first, number = first or delivery[1], number + 1
        end
    end
    if #reply == page then
        following = '(' .. reply[page][1]
    end
    return deliveries, first, number, following
end

-- Claims nothing, but fails without the permission to: now, not when a worker has died.
redis.call('XAUTOCLAIM', stream, group, consumer, min_idle, '18446744073709551615-18446744073709551615', 'COUNT', 1)

local claimed, passed = {}, 0
local function take(delivery)
    local id = delivery[1]
    local last_error = redis.call('HGET', errors, id) or ''
    local wait = last_error ~= '' and (cjson.decode(last_error).due_ms - now) or 0
    if wait > 0 then
        redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', math.max(0, min_idle - wait), 'JUSTID')
        passed = passed + 1
    else
        claimed[#claimed + 1] = { id, delivery[4], last_error, delivery[2] }
    end
end

repeat
    local deliveries, first, number, following = look(count - #claimed)
    cursor = following
    if first then
        local reply = redis.call('XAUTOCLAIM', stream, group, consumer, min_idle, first, 'COUNT', number, 'JUSTID')
        cursor = reply[1]
        for _, id in ipairs(reply[2]) do
            take(deliveries[id])
        end
        for _, id in ipairs(reply[3] or {}) do -- deleted from the stream: since 7.0 it is not pending any more then
            redis.call('HDEL', errors, id)
        end
    end
until cursor == '0-0' or #claimed == count or passed >= most
return { cursor, claimed }
