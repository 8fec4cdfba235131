-- Uses sale, queue. Takes a user out of the line, or ends its admission.
-- KEYS as shared/sale.lua
-- ARGV[16] why: 'left' (by itself) | 'removed' (by the back end)
-- ARGV[17] id of this request: asked again, it says again that there was one, and leaves what was joined since
-- Returns {'ok', 1 | 0 there was none, head of the ledger}, {'absent'}, {'gone'} or {'late'}. Repeating it does no harm.
local why, request = ARGV[16], ARGV[17]
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local by = socket ~= '' and socket or nil
local done = was_done(request)
local had = not done and (end_admission(user, why, by) or forget(user, why, by))
write()
if had then is_done(request) end
local _, h = head(LMETA)
return {'ok', (done or had) and 1 or 0, h}
