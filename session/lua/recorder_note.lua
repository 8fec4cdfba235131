-- Notes what servers have seen befall a user, for its flight recorder.
-- KEYS recorders of some users
-- ARGV[3..] ttl ms, then fours: the number of a recorder, when (Unix ms), what, and how the notes begin of which
--      only a change is noted ('' each is). That something is `gone` is noted only where the last such note says
--      that it was there.
-- Returns {'ok', numbers of recorders that cannot be read ...} or {'late'}. Repeating it does no harm where only
--      changes are noted.
if late() then return {'late'} end
-- The newest note that begins so, '' where there is none; nil where the recorder cannot be read.
local function last(recorder, subject)
  -- mostly it is among the newest
  for from = 0, 40, 10 do
    local entries = redis.pcall('LRANGE', recorder, from, from + 9)
    if entries.err then return nil end
    for _, entry in ipairs(entries) do
      local what = entry:match('^%d+ (.*)$')
      if what:sub(1, #subject) == subject then return what end
    end
    if #entries < 10 then break end
  end
  return ''
end
local bad, there = {'ok'}, {waiting = true, admitted = true, held = true, extended = true}
for k = 4, #ARGV, 4 do
  local recorder, at, what, subject = KEYS[tonumber(ARGV[k])], unpack(ARGV, k + 1, k + 3)
  local was = last(recorder, subject)
  local is_gone = what:match(' gone$') and not there[(was or ''):sub(#subject + 1):match('^%S*')]
  if not was then bad[#bad + 1] = ARGV[k]
  elseif subject == '' or (what ~= was and not is_gone) then record(recorder, ARGV[3], what, at) end
end
return bad
