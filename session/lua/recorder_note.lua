-- Notes what servers have seen befall a user, for its flight recorder.
-- KEYS recorder
-- ARGV[3..] ttl ms, then triples: when (Unix ms), what, and how the notes begin of which only a change is noted
--      ('' each is). That something is `gone` is noted only where the last such note says that it was there.
-- Returns {'ok'} or {'late'}. Repeating it does no harm where only changes are noted.
if late() then return {'late'} end
local function last(subject)
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, 49)) do
    local what = entry:match('^%d+ (.*)$')
    if what:sub(1, #subject) == subject then return what end
  end
  return ''
end
local there = {waiting = true, admitted = true, held = true, extended = true}
for k = 4, #ARGV, 3 do
  local what, subject = ARGV[k + 1], ARGV[k + 2]
  local was = subject ~= '' and last(subject)
  local is_news = what ~= was and (not what:match(' gone$') or there[was:sub(#subject + 1):match('^%S*')])
  if is_news then record(KEYS[1], ARGV[3], what, ARGV[k]) end
end
return {'ok'}
