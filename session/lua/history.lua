-- Reads what follows a position. Completeness is checked by counting, never assumed. Writes nothing.
-- KEYS meta, stream
-- ARGV[3..] epoch, offset, most entries, most bytes (one entry may exceed them); an empty epoch asks for the room's position alone;
--      '1' if the epoch is of a room never used, whichever incarnation's: who saw nothing has lost nothing
-- Returns {'ok', epoch, head, chain, {frame, private, ...}}
--      or {'lost', epoch, head, chain, 'epoch' | 'rolled-back' | 'trimmed'}
local epoch, offset, limit, bytes = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local e, h, c = head(KEYS[1])
if epoch == '' then return {'ok', e, h, c, {}} end
local stop = epoch == e and h or nil
if not stop then
  for link, last in c:gmatch('(%S+):(%d+)') do
    if link == epoch or (ARGV[7] == '1' and #link == 11) then stop = tonumber(last) break end
  end
end
if not stop then return {'lost', e, h, c, 'epoch'} end
if offset > stop then return {'lost', e, h, c, 'rolled-back'} end
if offset == h then return {'ok', e, h, c, {}} end
local got = redis.call('XRANGE', KEYS[2], int(offset + 1) .. '-0', '+', 'COUNT', limit)
local function id(entry) return tonumber(entry[1]:match('^%d+')) end
if #got == 0 or id(got[1]) ~= offset + 1 or id(got[#got]) ~= offset + #got
  or (#got < limit and id(got[#got]) ~= h) then
  return {'lost', e, h, c, 'trimmed'}
end
local out = {}
for _, entry in ipairs(got) do
  bytes = bytes - #entry[2][2] - #entry[2][4]
  if bytes < 0 and #out > 0 then break end
  out[#out + 1] = entry[2][2]
  out[#out + 1] = entry[2][4]
end
return {'ok', e, h, c, out}
