-- Uses sale, queue. Takes a user out of the line, or ends its admission.
-- KEYS as shared/sale.lua
-- ARGV[16] why: 'left' (by itself) | 'removed' (by the back end)
-- Returns {'ok', 1 | 0 there was none}, {'absent'}, {'gone'} or {'late'}. Repeating it does no harm.
local why = ARGV[16]
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local by = socket ~= '' and socket or nil
local had = end_admission(user, why, by) or forget(user, why, by)
write()
return {'ok', had and 1 or 0}
