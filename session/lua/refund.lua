-- Uses sale, seats. Makes sold seats available again, all or nothing; one that is available already was refunded before.
-- KEYS as shared/sale.lua
-- ARGV[16..] seats as index=id
-- Returns {'ok', flush}, {'taken', flush, ids that are held ...}, {'catalog'}, {'absent'} or {'late'}.
--      Repeating it does no harm.
local wanted, sold, held = named(16), {}, {}
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
if catalog ~= c.catalog then return {'catalog'} end
expire(50)
for _, seat in ipairs(wanted) do
  local is = state(seat[1])
  if is == 's' then sold[#sold + 1] = seat elseif is ~= 'a' then held[#held + 1] = seat[2] end
end
if #held > 0 then return {'taken', flush(), unpack(held)} end
turn(sold, 'a', 0, -#sold)
return {'ok', flush()}
