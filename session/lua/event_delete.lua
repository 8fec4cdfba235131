-- Uses sale. Removes an event with its line and its seats, and ends the histories of its rooms: each epoch turns
-- with an empty chain, so that no earlier position is part of what follows. The meta stays: without it, old
-- readers of the room could not be told from readers of a room never used.
-- KEYS as shared/sale.lua, then for each room meta, stream, ids
-- ARGV[16..] rooms in the order of their keys ...
-- Returns {'ok'}, {'sold'} (seats are sold), {'absent'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local c = settings()
if not c.made then return {'absent'} end
if tonumber(redis.call('HGET', SALE, 's') or 0) > 0 then return {'sold'} end
redis.call('DEL', CFG, MAP, SHOWN, HOLDS, DUE, PENDING, SALE, FENCE, BOOKINGS, PRESENT, ABSENT, LAPSE, ADMITTED, CAP,
  RATE, INSTANCES)
for k = 16, #ARGV do
  local at = 21 + (k - 16) * 3
  redis.call('DEL', KEYS[at + 2])
  -- who is in line, or looks at the seats, may have heard nothing yet in these, and wants to know
  local kind = ARGV[k]:match('^[^:]+')
  if (kind ~= 'event' and kind ~= 'seats' and c.cap) or (kind == 'seats' and c.catalog ~= '') then
    redis.call('HSETNX', KEYS[at], 'h', 0)
  end
  turn_away(KEYS[at], KEYS[at + 1], ARGV[k])
end
return {'ok'}
