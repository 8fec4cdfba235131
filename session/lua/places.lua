-- Uses sale, queue. Reads where users stand. Writes nothing.
-- KEYS as shared/sale.lua
-- ARGV[16..] users ...
-- Returns {'ok', place() of each ...} or {'absent'}
local c, out = settings(), {'ok'}
if not c.made or not c.cap then return {'absent'} end
for k = 16, #ARGV do out[#out + 1] = place(c, ARGV[k]) end
return out
