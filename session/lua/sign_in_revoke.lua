-- Revokes what a mark stands for: no connection may say anything more under it, on any server.
-- KEYS revoked, counter[, family]
-- ARGV[3..] channel, user, mark, end of the mark ms
-- Returns {'ok'} or {'late'}. Repeating it does no harm.
local channel, user, mark, ends = unpack(ARGV, 3)
if late() then return {'late'} end
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], 'x', 1) end
redis.call('ZADD', KEYS[1], 'GT', ends, mark)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now))
if redis.call('PTTL', KEYS[1]) < ends - now then redis.call('PEXPIRE', KEYS[1], int(ends - now)) end
ring(channel, KEYS[2], 'k ' .. user .. ' ' .. mark)
return {'ok'}
