-- Notes what servers have seen befall a user, for its flight recorder.
-- KEYS recorders of some users
-- ARGV[3..] ttl ms, then fours: the number of a recorder, when (Unix ms), what, and how the notes begin of which
--      only a change is noted ('' each is). That something is `gone` is noted only where the last such note says
--      that it was there.
-- Returns {'ok'} or {'late'}. Repeating it does no harm where only changes are noted.
if late() then return {'late'} end
local function last(recorder, subject)
  -- mostly it is among the newest
  for from = 0, 40, 10 do
    local entries = redis.call('LRANGE', recorder, from, from + 9)
    for _, entry in ipairs(entries) do
      local what = entry:match('^%d+ (.*)$')
      if what:sub(1, #subject) == subject then return what end
    end
    if #entries < 10 then break end
  end
  return ''
end
local there = {waiting = true, admitted = true, held = true, extended = true}
for k = 4, #ARGV, 4 do
  local recorder, at, what, subject = KEYS[tonumber(ARGV[k])], unpack(ARGV, k + 1, k + 3)
  local was = subject ~= '' and last(recorder, subject)
  local is_news = what ~= was and (not what:match(' gone$') or there[was:sub(#subject + 1):match('^%S*')])
  if is_news then record(recorder, ARGV[3], what, at) end
end
return {'ok'}
