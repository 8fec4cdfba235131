-- Uses sale, seats. Turns seats that a user holds into sold ones, all or nothing; the same request id brings
-- the first answer.
-- KEYS as shared/sale.lua
-- ARGV[16..] request id ('' none), id for the booking, seats as index=id
-- Returns {'ok' | 'again', booking, flush, ids ...}, {'taken', flush, ids not held ...},
--      {'catalog'}, {'absent'} or {'late'}
local request, booking, wanted = ARGV[16], ARGV[17], named(18)
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local was = request ~= '' and redis.call('HGET', BOOKINGS, 'k:' .. request)
if was then
  -- written again, so that waiting for the replicas waits for this
  redis.call('HSET', BOOKINGS, 'k:' .. request, was)
  local id, rest = was:match('^(%S+) (.*)$')
  local seats = {}
  for seat in rest:gmatch('%S+') do seats[#seats + 1] = seat end
  return {'again', id, 'none', unpack(seats)}
end
if catalog ~= c.catalog then return {'catalog'} end
local g, others, stay, sold = mine(), {}, {}, {}
for _, seat in ipairs(wanted) do
  if g.has[seat[1]] then sold[seat[1]] = true else others[#others + 1] = seat[2] end
end
if #others > 0 then return {'taken', flush(), unpack(others)} end
for _, seat in ipairs(g.seats) do if not sold[seat[1]] then stay[#stay + 1] = seat end end
turn(wanted, 's', -#wanted, #wanted)
g.seats = stay
keep(user, g)
tell_holds(user, g)
redis.call('HSET', BOOKINGS, 'b:' .. booking, int(now) .. ' ' .. user .. ' ' .. table.concat(ids(wanted), ' '))
if request ~= '' then redis.call('HSET', BOOKINGS, 'k:' .. request, booking .. ' ' .. table.concat(ids(wanted), ' ')) end
return {'ok', booking, flush(), unpack(ids(wanted))}
