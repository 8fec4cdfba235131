-- Merges the client's own state into its session, a field a key, and answers with the whole.
-- KEYS session, data
-- ARGV[3..] socket that must still be attached ('' none), its order, ttl ms, most bytes as JSON,
--      then pairs: key as JSON, value as JSON ('' removes the key)
-- Returns {'ok', {key, value, ...}}, {'full'}, {'gone', kicked at | ''}, {'lost'} or {'late'}
local socket, order, ttl, most = unpack(ARGV, 3, 6)
if late() then return {'late'} end
local no = fenced(KEYS[1], socket, order)
if no then return no end
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
lengthen(KEYS, ttl)
return {'ok', redis.call('HGETALL', KEYS[2])}
