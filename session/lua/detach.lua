-- Unmaps a connection from its user; with the last one the session's hour begins.
-- KEYS session, index, data, rooms, recorder
-- ARGV[3..] socket, session ttl ms, how it ended ('' never begun), to which the time of its coming is added
-- Returns {'ok'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
local was = redis.call('HGET', KEYS[1], 'c:' .. ARGV[3]) or ''
local had = redis.call('HDEL', KEYS[1], 'c:' .. ARGV[3])
-- each leaves the index once: also one that was replaced, or is swept while its server wakes up
if redis.call('HDEL', KEYS[2], ARGV[3]) == 1 and ARGV[5] ~= '' then
  record(KEYS[5], ARGV[4], ARGV[5] .. ' ' .. (was:match('%d+$') or '0'))
end
if had == 0 then return {'ok'} end
local worth = false
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field:sub(1, 2) == 'c:' then return {'ok'} end
  worth = worth or field == 'la' or field == 'k' or field:sub(1, 2) == 'x:'
end
-- nothing but a connection that has gone: no session was ever written, and nobody was removed
if not worth then redis.call('DEL', KEYS[1]) end
for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4], KEYS[5]}) do redis.call('PEXPIRE', key, ARGV[4]) end
return {'ok'}
