-- Changes fields and rooms of a session, and creates it where there is none.
-- KEYS session, data, rooms, counter, recorder
-- ARGV[3..] socket that must still be attached ('' none), its order, ttl ms, most rooms, then triples:
--      'set' field value | 'default' field value (where absent) |
--      'clear' field value-that-it-has ('' any) | 'join' room '' | 'leave' room '' |
--      'unname' 'w:<event>' | 'h:<event>' its name (unless it was named anew) |
--      'tell' notice 'channel instance' (where another instance has a connection of the user) |
--      'seen' '' '' (the session lives from here on) | 'touch' '' '' (only if it does) | 'note' what ''
-- Returns {'ok'}, {'full'} (too many rooms), {'gone', kicked at | ''}, {'lost'} (the store forgot it) or {'late'}
local socket, order, ttl, most = unpack(ARGV, 3, 6)
if late() then return {'late'} end
local no = fenced(KEYS[1], socket, order)
if no then return no end
local new = 0
for i = 7, #ARGV, 3 do
  if ARGV[i] == 'join' then new = new + 1 - redis.call('SISMEMBER', KEYS[3], ARGV[i + 1]) end
end
if new > 0 and redis.call('SCARD', KEYS[3]) + new > tonumber(most) then return {'full'} end
for i = 7, #ARGV, 3 do
  local op, a, b = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if op == 'set' then redis.call('HSET', KEYS[1], a, b)
  elseif op == 'default' then redis.call('HSETNX', KEYS[1], a, b)
  elseif op == 'clear' then
    if b == '' or redis.call('HGET', KEYS[1], a) == b then redis.call('HDEL', KEYS[1], a) end
  elseif op == 'join' then redis.call('SADD', KEYS[3], a)
  elseif op == 'leave' then redis.call('SREM', KEYS[3], a)
  elseif op == 'note' then record(KEYS[5], ttl, a)
  elseif op == 'tell' then tell_others(KEYS[1], b:match('%S+$'), b:match('^%S+'), KEYS[4], a)
  elseif op == 'unname' then
    if (redis.call('HGET', KEYS[1], a) or '') == b then
      redis.call('HDEL', KEYS[1], a)
      if a == 'w:' .. (redis.call('HGET', KEYS[1], 'qe') or '') then redis.call('HDEL', KEYS[1], 'qe') end
    end
  elseif op == 'seen' or redis.call('HEXISTS', KEYS[1], 'la') == 1 then redis.call('HSET', KEYS[1], 'la', int(now)) end
end
lengthen({KEYS[1], KEYS[2], KEYS[3], KEYS[5]}, ttl)
return {'ok'}
