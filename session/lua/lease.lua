-- Renews (or, with a length of 0, gives up) this server's lease, and tells time, incarnation and the dead.
-- KEYS leases
-- ARGV[3..] instance, length of the lease ms, how long a lease must be over to be dead ms, incarnation under
--      which the lease was last renewed ('' never): there it must still be, or the others have swept it
-- Returns {now ms, end of lease ms | 0 swept, incarnation, {instances that are over}, {all instances}}
-- It alone has no deadline: it is what deadlines come from, and repeating it does no harm.
local instance, length, dead_after, known = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local inc = incarnation()
if length == 0 then
  redis.call('ZREM', KEYS[1], instance)
  return {now, 0, inc, {}, {}}
end
local score = tonumber(redis.call('ZSCORE', KEYS[1], instance) or (known == inc and -1 or 0))
local swept = score < 0 and redis.call('EXISTS', KEYS[1]) == 1
if not swept then redis.call('ZADD', KEYS[1], int(now + length), instance) end
return {now, swept and 0 or now + length, inc,
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now - dead_after), 'LIMIT', 0, 100),
  redis.call('ZRANGE', KEYS[1], 0, 999)}
