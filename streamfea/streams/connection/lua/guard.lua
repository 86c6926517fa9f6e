-- What a consumer's scripts begin with where the stream has a mark: nothing is done to a stream that began anew.
--
-- KEYS  stream first
-- ARGV  the mark's group last, '' for none; it is taken off
-- Reply NOGROUP when the stream does not have the mark, and then nothing is changed
--
-- Atomic with the rest, because an entry of the stream that was here before may have the same id as one of this.
redis.replicate_commands() -- 6.2 refuses to write after XPENDING otherwise; later versions always do this
do
    local mark = table.remove(ARGV)
    if mark ~= '' then
        redis.call('XPENDING', KEYS[1], mark)
    end
end
