-- Marks a dead instance before it is swept, so that it cannot come back half swept.
-- KEYS leases
-- ARGV[3..] instance, how long a lease must be over to be dead ms
-- Returns {'ok'}, {'alive'} (or gone) or {'late'}
if late() then return {'late'} end
local score = redis.call('ZSCORE', KEYS[1], ARGV[3])
if not score or tonumber(score) > now - tonumber(ARGV[4]) then return {'alive'} end
redis.call('ZADD', KEYS[1], -1, ARGV[3])
return {'ok'}
