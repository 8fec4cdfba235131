-- Reads a session whole. Writes nothing.
-- KEYS session, data, rooms, revoked, meta of the user's room
-- ARGV none
-- Returns {{session}, {data}, {rooms}, {revocation marks in force}, epoch, head}
local e, h = head(KEYS[5])
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('SMEMBERS', KEYS[3]),
  redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. int(now), '+inf'), e, h}
