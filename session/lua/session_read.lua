-- Reads a session whole. Writes nothing.
-- KEYS session, data, rooms, revoked, meta of the user's room, cut
-- ARGV none
-- Returns {{session}, {data}, {rooms}, {revocation marks in force}, epoch, head}
local e, h = head(KEYS[5])
local marks, cut = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. int(now), '+inf'), redis.call('GET', KEYS[6])
if cut then marks[#marks + 1] = 'i:' .. cut end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('SMEMBERS', KEYS[3]),
  marks, e, h}
