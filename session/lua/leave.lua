-- Uses sale, queue. Takes a user out of the line, or ends its admission.
-- KEYS as shared/sale.lua
-- ARGV[16] why: 'left' (by itself) | 'removed' (by the back end)
-- ARGV[17] id of this request: asked again, it says again that there was one, and leaves what was joined since
-- Returns {'ok', 1 | 0 there was none, head of the ledger}, {'absent'}, {'gone'} or {'late'}. Asked again, the
--      head is that of then, or 0 where it has gone on by far: what was joined since is later. Repeating it does no harm.
local BY_FAR = 10000
local why, request = ARGV[16], ARGV[17]
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
local by = socket ~= '' and socket or nil
local done = was_done(request)
local had = not done and (end_admission(user, why, by) or forget(user, why, by))
write()
local _, h = head(LMETA)
if had then
  is_done(request)
  is_done(request .. ':' .. int(h))
elseif done then
  local now_at = h
  while h > 0 and not was_done(request .. ':' .. int(h)) do
    h = now_at - h < BY_FAR and h - 1 or 0
  end
end
return {'ok', (done or had) and 1 or 0, h}
