-- Uses sale, seats. Reads what a user holds, and keeps out the connection that it has replaced.
-- KEYS as shared/sale.lua
-- ARGV none of its own
-- Returns {'ok', first, until, version, event, 'none', ids held ...}, {'none', version}, {'absent'}, {'gone'} or {'late'}
if late() then return {'late'} end
local no = refused(settings())
if no then return no end
local g = group(user)
if #g.seats == 0 or g.till <= now then return {'none', version()} end
return answer(g, 'none')
