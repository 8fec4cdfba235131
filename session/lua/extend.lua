-- Uses sale, seats. Lengthens a user's hold: once more its time from now, cut at the longest after the first seat.
-- KEYS as shared/sale.lua
-- ARGV none of its own
-- Returns {'ok', first, until, version, flush, ids held ...}, {'none', version}, {'limit'}, {'absent'}, {'gone'} or {'late'}
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local g = mine()
local last = g.first + c.longest
if #g.seats == 0 then flush() return {'none', version()} end
if g.till >= last then flush() return {'limit'} end
g.till = math.max(g.till, math.min(now + c.hold, last))
keep(user, g)
tell_holds(user, g)
return answer(g, flush())
