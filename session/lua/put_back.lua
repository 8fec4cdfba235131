-- Uses sale, queue. Gives places back that the store has lost with its newest writes, under their old numbers.
-- KEYS as shared/sale.lua, and the users here
-- ARGV[16..] instance, request that made the event (of another one nothing is put back), id of this
--      request: asked again, it puts back nobody who has left since; then triples: user, seq, until when it is
--      admitted (0 no deadline, '' it waits)
-- Returns {'ok'}, {'absent'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local c = settings()
if c.made ~= ARGV[17] or not c.cap then return {'absent'} end
if was_done(ARGV[18]) then return {'ok'} end
local s, inc = redis.call('HMGET', SALE, 'inc', 'seq', 'edge', 'ainc', 'settle'), incarnation()
local edge = tonumber(s[1] == inc and s[3] or s[2] or 0)
-- a place is lost only with the numbers that another incarnation has lost, an admission only a moment ago
local function is_lost(seq) return seq > edge and seq <= edge + HOLE end
local is_new = s[4] ~= inc or now < tonumber(s[5] or 0) + 10000
for k = 19, #ARGV, 3 do
  local of, seq, till = ARGV[k], tonumber(ARGV[k + 1]), tonumber(ARGV[k + 2])
  local known = score(PRESENT, of) or score(ABSENT, of) or score(ADMITTED, of)
  if not known and is_lost(seq) and not till then redis.call('ZADD', PRESENT, int(seq), of) end
  known = score(PRESENT, of) or score(ABSENT, of)
  if is_new and till and not score(ADMITTED, of) and (till == 0 or till > now)
    and redis.call('ZCARD', ADMITTED) < c.cap then
    for _, key in ipairs({ABSENT, LAPSE}) do redis.call('ZREM', key, of) end
    let_in(c, of, known or 0, till > 0 and till or FAR)
    count(c, 1, 0)
  end
  come(of, KEYS[21], ARGV[16])
end
write()
is_done(ARGV[18])
return {'ok'}
