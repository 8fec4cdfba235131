-- Revokes all that was issued to a user until now: no connection may say anything more under it, on any server.
-- KEYS cut, counter
-- ARGV[3..] channel, user, end of the revocation ms
-- Returns {'ok'} or {'late'}. Repeating it does no harm.
local channel, user, ends = unpack(ARGV, 3)
if late() then return {'late'} end
local cut = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
redis.call('SET', KEYS[1], int(cut), 'PX', int(math.max(ends - now, redis.call('PTTL', KEYS[1]), 1)))
ring(channel, KEYS[2], 'k ' .. user .. ' i:' .. int(cut))
return {'ok'}
