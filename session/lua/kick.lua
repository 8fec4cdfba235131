-- Removes all of a user's connections, on every server: none that came before now may say anything more.
-- KEYS session, counter
-- ARGV[3..] channel, user, session ttl ms
-- Returns {'ok', how many there were} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local n = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field:sub(1, 2) == 'c:' then n = n + redis.call('HDEL', KEYS[1], field) end
end
-- the mark outlives a lost notice: servers find it when they look at the bucket again
local order = math.max(tonumber(redis.call('HGET', KEYS[1], 'g') or 0), now)
redis.call('HSET', KEYS[1], 'k', int(order), 'g', int(order))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
ring(ARGV[3], KEYS[2], 'd ' .. ARGV[4] .. ' ' .. int(order))
return {'ok', n}
