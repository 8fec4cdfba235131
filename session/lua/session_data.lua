-- Merges the client's own state into its session, a field a key, and answers with the whole.
-- KEYS session, data
-- ARGV[3..] socket that must still be attached ('' none), its order, ttl ms, most bytes as JSON,
--      then pairs: key as JSON, value as JSON ('' removes the key)
-- Returns {'ok', {key, value, ...}}, {'full'}, {'gone', kicked at | ''}, {'lost'} or {'late'}
local socket, order, ttl, most = unpack(ARGV, 3, 6)
if late() then return {'late'} end
if socket ~= '' and redis.call('HEXISTS', KEYS[1], 'c:' .. socket) == 0 then
  local s, at = redis.call('HMGET', KEYS[1], 'b', 'k', 'g'), tonumber(order)
  if not s[1] or tonumber(s[1]) > at or tonumber(s[3] or 0) < at then return {'lost'} end
  return {'gone', s[2] or ''}
end
local whole, flat, size = {}, redis.call('HGETALL', KEYS[2]), 2
for i = 1, #flat, 2 do whole[flat[i]] = flat[i + 1] end
for i = 7, #ARGV, 2 do whole[ARGV[i]] = ARGV[i + 1] ~= '' and ARGV[i + 1] or nil end
for key, value in pairs(whole) do size = size + #key + #value + 2 end
if size > tonumber(most) + 1 then return {'full'} end
for i = 7, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i])
  else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], 'la', int(now))
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
return {'ok', redis.call('HGETALL', KEYS[2])}
