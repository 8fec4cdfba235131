-- Removes an event, and ends the histories of its rooms: each epoch turns with an empty chain, so that no
-- earlier position is part of what follows. The meta stays: without it, old readers of the room could not
-- be told from readers of a room never used.
-- KEYS event, then for each room meta, stream, ids
-- ARGV[3..] channel, rooms in the order of their keys ...
-- Returns {'ok'}, {'absent'} or {'late'}. Repeating it does no harm.
local channel = ARGV[3]
if late() then return {'late'} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'absent'} end
redis.call('DEL', KEYS[1])
local inc = incarnation()
for i = 4, #ARGV do
  local at = 2 + (i - 4) * 3
  local meta, stream, ids = KEYS[at], KEYS[at + 1], KEYS[at + 2]
  redis.call('DEL', stream, ids)
  if redis.call('EXISTS', meta) == 1 then
    redis.call('HSET', meta, 'e', inc .. ARGV[2], 'c', '')
    redis.call('PEXPIRE', meta, 2592000000)
    ring(channel, nil, 'g ' .. ARGV[i])
  end
end
return {'ok'}
