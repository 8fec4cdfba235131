-- Removes all of a user's connections, on every server: none that came before now may say anything more.
-- KEYS session, counter, recorder
-- ARGV[3..] channel, user, session ttl ms
-- Returns {'ok', how many there were} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local flat, n = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #flat, 2 do
  local id, where, order = flat[i]:match('^c:(.+)$'), flat[i + 1]:match('^(.-):(%d+)$')
  if id then
    n = n + redis.call('HDEL', KEYS[1], flat[i])
    record(KEYS[3], ARGV[5], 'removed ' .. where .. ' ' .. id .. ' ' .. order)
  end
end
-- the mark outlives a lost notice: servers find it when they look at the bucket again
local order = math.max(tonumber(redis.call('HGET', KEYS[1], 'g') or 0), now)
redis.call('HSET', KEYS[1], 'k', int(order), 'g', int(order))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
ring(ARGV[3], KEYS[2], 'd ' .. ARGV[4] .. ' ' .. int(order))
return {'ok', n}
