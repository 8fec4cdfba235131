-- Uses sale, queue. What the back end does to a line: pauses or resumes it, or lets one user in at once.
-- KEYS as shared/sale.lua
-- ARGV[16] 'pause' | 'resume' | 'admit'
-- Returns {'ok'}, {'full'}, {'closed', start} (not open yet), {'none'} (not in the line), {'open'} (there is
--      no waiting room), {'absent'} or {'late'}. Repeating it does no harm.
local what = ARGV[16]
if late() then return {'late'} end
local c = settings()
if not c.made then return {'absent'} end
if not c.cap then return {'open'} end
if what == 'pause' then redis.call('HSET', SALE, 'paused', 1) return {'ok'} end
if what == 'resume' then redis.call('HDEL', SALE, 'paused') return {'ok'} end
if now < c.start then return {'closed', int(c.start)} end
purge()
local seq = score(PRESENT, user) or score(ABSENT, user)
local verdict = 'ok'
if (score(ADMITTED, user) or 0) > now then verdict = 'ok'
elseif not seq then verdict = 'none'
elseif redis.call('ZCARD', ADMITTED) >= c.cap then verdict = 'full'
else
  local away = score(ABSENT, user)
  for _, key in ipairs({ABSENT, LAPSE}) do redis.call('ZREM', key, user) end
  let_in(c, user, seq)
  if away then redis.call('ZADD', ADMITTED, int(math.min(c.adm and now + c.adm or FAR, now + entry)), user) end
  count(c, 1, 1)
  tally('ad', 1)
end
write()
return {verdict}
