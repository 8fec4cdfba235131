-- Reads what a user has booked in an event; a seat that was sold again since is the newer booking's. Writes nothing.
-- KEYS bookings
-- ARGV[3] user
-- Returns {booking, Unix ms, seats joined by a space, ...}, those with no seat left out
local user, newest, mine = ARGV[3], {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local id = all[i]:match('^b:(.+)$')
  if id then
    local at, owner, seats = all[i + 1]:match('^(%d+) (%S+) (.*)$')
    at = tonumber(at)
    if owner == user then mine[#mine + 1] = {id, at, seats} end
    for seat in seats:gmatch('%S+') do
      local was = newest[seat]
      if not was or was.at < at then newest[seat] = {at = at, id = id} end
    end
  end
end
local found = {}
for _, b in ipairs(mine) do
  local stay = {}
  for seat in b[3]:gmatch('%S+') do if newest[seat].id == b[1] then stay[#stay + 1] = seat end end
  if #stay > 0 then
    found[#found + 1] = b[1]
    found[#found + 1] = int(b[2])
    found[#found + 1] = table.concat(stay, ' ')
  end
end
return found
