-- Names an event in the list of all, before the event itself is written: a name that leads to nothing is
-- harmless. Names it anew each time, so that a name younger than a minute may be that of an event to come.
-- KEYS events
-- ARGV[3..] event id, most names
-- Returns {'ok'}, {'full'} or {'late'}. Repeating it does no harm.
local event, most = ARGV[3], tonumber(ARGV[4])
if late() then return {'late'} end
if redis.call('ZCARD', KEYS[1]) >= most and not redis.call('ZSCORE', KEYS[1], event) then return {'full'} end
redis.call('ZADD', KEYS[1], int(now), event)
return {'ok'}
