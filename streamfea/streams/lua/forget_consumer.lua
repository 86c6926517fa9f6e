-- Remove a consumer from its group if nothing is pending for it.
--
-- KEYS  stream
-- ARGV  group, consumer
-- Reply 1; 0 when something is pending, and then nothing is changed
--
-- Atomic, because XGROUP DELCONSUMER drops what is pending, and that would be lost.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING or TIME otherwise; later versions always do this
local stream = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]

if #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) > 0 then
    return 0
end
redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
return 1
