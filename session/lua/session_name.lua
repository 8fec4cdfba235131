-- Names an event in which a user has a place or holds seats, before it has: so that it is looked for there. A
-- name that leads to nothing is harmless.
-- KEYS session, data, rooms
-- ARGV[3..] socket that must still be attached ('' none), its order, ttl ms, most names of a kind, 'w:<event>' (the
--      line) or 'h:<event>' (seats)
-- Returns {'ok'}, {'full', events that are named ...}, {'gone', kicked at | ''}, {'lost'} or {'late'}
local socket, order, ttl, most, name = unpack(ARGV, 3, 7)
if late() then return {'late'} end
local no = fenced(KEYS[1], socket, order)
if no then return no end
local named = {}
if redis.call('HEXISTS', KEYS[1], name) == 0 then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:sub(1, 2) == name:sub(1, 2) then named[#named + 1] = field:sub(3) end
  end
  if #named >= tonumber(most) then return {'full', unpack(named)} end
end
redis.call('HSET', KEYS[1], name, 1, 'la', int(now))
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
return {'ok'}
