-- Acknowledge entries, and drop the last errors that they may have.
--
-- KEYS  stream, errors hash
-- ARGV  group, ids
-- Reply how many were pending
--
-- Atomic, so that an error is kept exactly as long as its entry is pending.
local stream, errors = KEYS[1], KEYS[2]

local acknowledged = 0
for i = 2, #ARGV do
    acknowledged = acknowledged + redis.call('XACK', stream, ARGV[1], ARGV[i])
    redis.call('HDEL', errors, ARGV[i])
end
return acknowledged
