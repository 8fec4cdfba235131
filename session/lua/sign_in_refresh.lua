-- Uses a refresh token: it brings its successor, or the newest one where that has been used too, each time
-- within the grace. A use after that is a theft (RFC 9700, 4.14.2), and ends the whole sign-in.
-- KEYS family, revoked, counter, cut
-- ARGV[3..] channel, user, mark of the sign-in, generation, request id, grace ms, end of the mark ms
-- Returns {'ok', generation that it brings}, {'revoked'}, {'unknown'} or {'late'}
local channel, user, mark, generation, request, grace, ends = unpack(ARGV, 3)
if late() then return {'late'} end
local family = redis.call('HMGET', KEYS[1], 'n', 'x', generation, 'b')
local newest, revoked, used, begun = tonumber(family[1]), family[2], family[3], tonumber(family[4] or 0)
if not newest then return {'unknown'} end
if revoked or tonumber(redis.call('GET', KEYS[4]) or -1) >= begun then return {'revoked'} end
generation = tonumber(generation)
-- newer than the newest: it is signed, so it was issued, and the store has lost that with a primary
if generation >= newest then
  redis.call('HSET', KEYS[1], 'n', int(generation + 1), int(generation), int(now) .. ':' .. request)
  -- a chain of refreshes within the grace must not fill the hash
  redis.call('HDEL', KEYS[1], int(generation - 8))
  return {'ok', int(generation + 1)}
end
if used then
  local at, by = used:match('^(%d+):(.*)$')
  if now - tonumber(at) < tonumber(grace) or by == request then return {'ok', int(newest)} end
end
redis.call('HSET', KEYS[1], 'x', 1)
redis.call('ZADD', KEYS[2], 'GT', ends, mark)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now))
if redis.call('PTTL', KEYS[2]) < ends - now then redis.call('PEXPIRE', KEYS[2], int(ends - now)) end
ring(channel, KEYS[3], 'k ' .. user .. ' ' .. mark)
return {'revoked'}
