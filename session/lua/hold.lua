-- Uses sale, seats. Holds seats for a user, all or nothing. What it holds already is no error.
-- KEYS as shared/sale.lua
-- ARGV[16..] how many more seats are wanted than named; first, until and event (nothing is held in another) of a hold
--      that the store has lost, else ''; id of this request ('' none): asked again, it holds no more; seats as index=id
-- Returns {'ok', first, until, version, event, flush, ids held ...}, {'taken', flush, ids ...}, {'many', most},
--      {'closed', start}, {'outside'}, {'catalog'}, {'absent'}, {'gone'} or {'late'}. Repeating it does no harm.
local more, first, till, request, wanted = tonumber(ARGV[16]), ARGV[17], ARGV[18], ARGV[20], named(21)
if late() then return {'late'} end
local c = settings()
local no = refused(c) or (till ~= '' and made ~= ARGV[19] and {'absent'})
if no then return no end
if catalog ~= c.catalog then return {'catalog'} end
local g, new, taken = mine(), {}, {}
if was_done(request) then return answer(g, flush()) end
for _, seat in ipairs(wanted) do
  if not g.has[seat[1]] then
    local list = state(seat[1]) == 'a' and new or taken
    list[#list + 1] = seat
  end
end
local wants = #new + #taken + more
if wants == 0 then return answer(g, flush()) end
if till == '' then
  if now < c.start then flush() return {'closed', int(c.start)} end
  if c.cap and (score(ADMITTED, user) or 0) <= now then flush() return {'outside'} end
end
if #g.seats + wants > c.most then flush() return {'many', c.most} end
if #taken > 0 then return {'taken', flush(), unpack(ids(taken))} end
if #new > 0 then
  if #g.seats == 0 then
    g.first = tonumber(first) or now
    g.till = tonumber(till) or now + c.hold
  end
  turn(new, 'h', #new, 0)
  for _, seat in ipairs(new) do g.seats[#g.seats + 1] = seat end
  keep(user, g)
  tell_holds(user, g)
  if request ~= '' then is_done(request) end
end
return answer(g, flush())
