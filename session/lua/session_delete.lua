-- Deletes a session; the connections stay, and so does the order in which they came.
-- KEYS session, data, rooms
-- ARGV none
-- Returns {'ok', 1 | 0 there was none} or {'late'}
if late() then return {'late'} end
local had = redis.call('HEXISTS', KEYS[1], 'la')
redis.call('HDEL', KEYS[1], 'la', 'ev', 'qe', 'se')
redis.call('DEL', KEYS[2], KEYS[3])
return {'ok', had}
