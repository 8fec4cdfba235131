-- Writes how many connections of an event an instance has, tells the others, and reads all counts.
-- KEYS counts
-- ARGV[3..] channel, event, instance, count, ttl ms, instances that are gone ...
-- Returns a flat list instance, count, ... or {'late'}. Repeating it does no harm.
local channel, event, instance, count, ttl = unpack(ARGV, 3, 7)
if late() then return {'late'} end
for i = 8, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
if count == '0' then redis.call('HDEL', KEYS[1], instance)
else redis.call('HSET', KEYS[1], instance, count) end
redis.call('PEXPIRE', KEYS[1], ttl)
ring(channel, nil, 'i ' .. event .. ' ' .. instance .. ' ' .. count)
return redis.call('HGETALL', KEYS[1])
