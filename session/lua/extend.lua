-- Uses sale, seats. Lengthens a user's hold: once more its time from now, cut at the longest after the first seat.
-- KEYS as shared/sale.lua
-- ARGV[16] id of this request: asked again, it lengthens nothing more
-- Returns {'ok', first, until, version, event, flush, ids held ...}, {'none', version}, {'limit'}, {'absent'}, {'gone'} or {'late'}
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local g = mine()
if was_done(ARGV[16]) and #g.seats > 0 then return answer(g, flush()) end
local last = g.first + c.longest
if #g.seats == 0 then flush() return {'none', version()} end
if g.till >= last then flush() return {'limit'} end
g.till = math.max(g.till, math.min(now + c.hold, last))
keep(user, g)
tell_holds(user, g)
is_done(ARGV[16])
return answer(g, flush())
