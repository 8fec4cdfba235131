-- Uses sale, seats. Writes an event's settings, and its seats where the caller names any: new ones are put
-- behind those there are, and those taken out keep their index. Another list of seats ends the history of the
-- seats' room, so that everyone there is given the new state.
-- KEYS as shared/sale.lua
-- ARGV[16..] id of this request, settings as JSON, the same as scripts read them (cap, rate, adm, hold, long, most,
--      start; '' unset), 'keep' | 'sections' (only they change) | 'seats', sections as JSON ('' none), seat ids as
--      JSON ('' for one taken out), how many, how many of them for sale, from-to of those that are taken out ...
-- Returns {'created' | 'replaced', settings, sections, number of seats, catalog}, {'taken', indexes that are held
--      or sold ...}, {'catalog'} (it is another one by now) or {'late'}. Asked again, it says the same again.
local request, how = ARGV[16], ARGV[25]
if late() then return {'late'} end
local was = redis.call('HGET', CFG, 'catalog') or ''
if how == 'seats' and was ~= request then
  if was ~= catalog then return {'catalog'} end
  expire(1000)
  local map = redis.call('GET', MAP) or ''
  local taken = taken_among(map, 30)
  if #taken > 0 then flush() return {'taken', unpack(taken)} end
  if was ~= '' then flush(true) end
  for k = 30, #ARGV do
    local from, to = ARGV[k]:match('(%d+)-(%d+)')
    redis.call('SETRANGE', MAP, from, ('x'):rep(to - from + 1))
  end
  redis.call('APPEND', MAP, ('a'):rep(ARGV[28] - #map))
  redis.call('SET', SHOWN, redis.call('GET', MAP))
  redis.call('HSET', CFG, 'seats', ARGV[27], 'count', ARGV[29], 'catalog', request)
  redis.call('HSETNX', META, 'h', 0)
  turn_away(META, STREAM, 'seats:' .. event)
end
for k, name in ipairs({'cap', 'rate', 'adm', 'hold', 'long', 'most', 'start'}) do
  if ARGV[17 + k] == '' then redis.call('HDEL', CFG, name) else redis.call('HSET', CFG, name, ARGV[17 + k]) end
end
redis.call('HSET', CFG, 'settings', ARGV[17])
if how ~= 'keep' then redis.call('HSET', CFG, 'sections', ARGV[26]) end
redis.call('HSETNX', CFG, 'made', request)
local verdict = redis.call('HGET', CFG, 'made') == request and 'created' or 'replaced'
return {verdict, unpack(redis.call('HMGET', CFG, 'settings', 'sections', 'count', 'catalog'))}
