-- Count the entries after an id, up to a bound.
--
-- KEYS  stream
-- ARGV  start of the range, in XRANGE's notation, number to count at most
-- Reply the number
--
-- A script, so that the entries themselves need not travel.
return #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
