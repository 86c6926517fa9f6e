-- Have pending entries claimed by the next worker that looks, unless a worker has them in hand.
--
-- KEYS  stream, errors hash
-- ARGV  group, claim_idle (ms), 1 to take them also from workers that have them in hand, number of consumers that are
--       known to be dead, their names, ids
-- Reply {what became of it, consumer, idle time (ms)} of each id, in order: 'due'; 'in hand', and then nothing is
--       changed; {'not pending'}
--
-- Atomic, so that an entry whose run begins at this moment is not run by another worker at the same time.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream, errors = KEYS[1], KEYS[2]
local group, claim_idle, force, count = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local dead = {}
for i = 5, 4 + count do
    dead[ARGV[i]] = true
end
local replies = {}
for i = 5 + count, #ARGV do
    local id = ARGV[i]
    local delivery = redis.call('XPENDING', stream, group, id, id, 1)[1]
    if not delivery then
        redis.call('HDEL', errors, id)
        replies[#replies + 1] = { 'not pending' }
    else
        local consumer, idle = delivery[2], delivery[3]
        local text = redis.call('HGET', errors, id)
        local last_error = text and cjson.decode(text)
        local waits = last_error and not last_error.alone
        if waits or idle >= claim_idle or dead[consumer] or force then
            -- A claim looks at both, the idle time and the due time.
            local left = redis.call(
                'XCLAIM', stream, group, consumer, 0, id, 'IDLE', math.max(idle, claim_idle), 'JUSTID'
            )
            if #left == 0 then -- deleted from the stream
                redis.call('HDEL', errors, id)
            elseif last_error and last_error.due_ms > now then
                last_error.due_ms = now
                redis.call('HSET', errors, id, cjson.encode(last_error))
            end
            replies[#replies + 1] = { 'due', consumer, idle }
        else
            replies[#replies + 1] = { 'in hand', consumer, idle }
        end
    end
end
return replies
