-- Acknowledge entries that were delivered once and have no last errors.
--
-- KEYS  stream
-- ARGV  group, ids
-- Reply how many were pending
--
-- A script for the sake of its first check: it acknowledges only in the stream that the entries were read from.
local acknowledged, at_once = 0, 5000 -- LUAI_MAXCSTACK is 8000
for i = 2, #ARGV, at_once do
    acknowledged = acknowledged
        + redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, i, math.min(i + at_once - 1, #ARGV)))
end
return acknowledged
