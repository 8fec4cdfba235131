-- Names an event in which a user has a place or holds seats, before it has: so that it is looked for there. A
-- name that leads to nothing is harmless.
-- KEYS session, data, rooms, counter
-- ARGV[3..] socket that must still be attached ('' none), its order, ttl ms, most names of a kind, 'w:<event>' (the
--      line) or 'h:<event>' (seats), a notice of it, and channel and instance of who asks: a new name is told
--      where another instance has a connection of the user
-- Returns {'ok'}, {'full', events that are named ...}, {'gone', kicked at | ''}, {'lost'} or {'late'}
local socket, order, ttl, most, name, notice, channel, own = unpack(ARGV, 3, 10)
if late() then return {'late'} end
local no = fenced(KEYS[1], socket, order)
if no then return no end
local is_new, named = redis.call('HEXISTS', KEYS[1], name) == 0, {}
if is_new then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:sub(1, 2) == name:sub(1, 2) then named[#named + 1] = field:sub(3) end
  end
  if #named >= tonumber(most) then return {'full', unpack(named)} end
end
redis.call('HSET', KEYS[1], 'la', int(now), name, ARGV[2])
if is_new then tell_others(KEYS[1], own, channel, KEYS[4], notice) end
lengthen({KEYS[1], KEYS[2], KEYS[3]}, ttl)
return {'ok'}
