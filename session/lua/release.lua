-- Uses sale, seats. Gives a user's held seats back; one that it does not hold is none of its business.
-- KEYS as shared/sale.lua
-- ARGV[16..] id of this request: asked again, it says again that something was held, and keeps what is held since;
--      'all' | 'named', seats as index=id
-- Returns {'ok', first, until, version, event, flush, ids still held ...}, {'none', version} (nothing was held),
--      {'catalog'}, {'absent'}, {'gone'} or {'late'}. Repeating it does no harm.
local request, all, wanted = ARGV[16], ARGV[17] == 'all', named(18)
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
if not all and catalog ~= c.catalog then return {'catalog'} end
local g, free, stay, is_named = mine(), {}, {}, {}
if was_done(request) then return answer(g, flush()) end
if #g.seats == 0 then flush() return {'none', version()} end
for _, seat in ipairs(wanted) do is_named[seat[1]] = true end
for _, seat in ipairs(g.seats) do
  local list = (all or is_named[seat[1]]) and free or stay
  list[#list + 1] = seat
end
if #free > 0 then
  turn(free, 'a', -#free, 0)
  g.seats = stay
  keep(user, g)
  tell_holds(user, g)
  is_done(request)
end
return answer(g, flush())
