-- Remove a dead letter whose own fields have just been added to the stream, in the same MULTI.
--
-- KEYS  dead-letter stream, stream
-- ARGV  id of the letter, number of its own fields' names and values
-- Reply 1; 0 when the stream does not end with an entry of that many, and then nothing is changed
--
-- For letters with more fields than a script can pass on. An error of one command does not undo or keep back the
-- others of a MULTI, therefore the letter is removed only after a look at what is there.
redis.replicate_commands() -- 6.2 refuses to write after XREVRANGE otherwise; later versions always do this
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or #newest[2] ~= tonumber(ARGV[2]) then
    return 0
end
return redis.call('XDEL', KEYS[1], ARGV[1])
