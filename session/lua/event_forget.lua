-- Takes names that lead to no event off the list of all; those named within `age` stay, for their events
-- may be on the way.
-- KEYS events
-- ARGV[3..] age ms, event ids ...
-- Returns {names taken off} or {'late'}. Repeating it does no harm.
local age = tonumber(ARGV[3])
if late() then return {'late'} end
local gone = 0
for i = 4, #ARGV do
  local named = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if named and now - tonumber(named) > age then gone = gone + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return {gone}
