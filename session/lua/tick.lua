-- Uses sale, seats, queue. What time does to an event: ends holds, graces and admissions, lets the next in,
-- publishes what waits.
-- KEYS as shared/sale.lua
-- ARGV none of its own
-- Returns {'ok', 1 | 0 nothing will happen by itself, figures ...}, {'absent'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local c = settings()
if not c.made then return {'absent'} end
expire(100)
flush()
if c.cap then
  admit(c)
  local n, span = measure()
  redis.call('HSET', SALE, 'n', n, 'span', int(span))
elseif redis.call('EXISTS', PRESENT, ABSENT, ADMITTED) > 0 then
  -- the waiting room was taken away: nobody waits any more
  for _, key in ipairs({PRESENT, ABSENT}) do
    for _, of in ipairs(redis.call('ZRANGE', key, 0, 199)) do forget(of, 'closed') end
  end
  for _, of in ipairs(redis.call('ZRANGE', ADMITTED, 0, 199)) do end_admission(of, 'closed') end
end
write()
local busy = redis.call('EXISTS', PRESENT, ABSENT, ADMITTED, DUE, PENDING)
return {'ok', busy > 0 and 1 or 0, unpack(figures(c))}
