-- Renews (or, with a length of 0, gives up) this server's lease, and tells time, incarnation and the dead.
-- KEYS leases
-- ARGV[3..] instance, length of the lease ms, how long a lease must be over to be dead ms, '1' where the
--      instance must still be there (it was swept otherwise)
-- Returns {now ms, end of lease ms | 0 swept, incarnation, {dead instances}, {living ones}}
-- It alone has no deadline: it is what deadlines come from, and repeating it does no harm.
local instance, length, dead_after = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local inc = incarnation()
if length == 0 then
  redis.call('ZREM', KEYS[1], instance)
  return {now, 0, inc, {}, {}}
end
local swept = ARGV[6] == '1' and not redis.call('ZSCORE', KEYS[1], instance) and redis.call('EXISTS', KEYS[1]) == 1
if not swept then redis.call('ZADD', KEYS[1], int(now + length), instance) end
local edge = int(now - dead_after)
return {now, swept and 0 or now + length, inc,
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', edge, 'LIMIT', 0, 100),
  redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. edge, '+inf', 'LIMIT', 0, 1000)}
