-- Maps a connection to its user: the store's half of connecting. Run again, it changes nothing more.
-- KEYS session, index, counter, data, rooms, revoked, meta of the user's room
-- ARGV[3..] channel, user, socket, instance, most connections, ttl ms, socket that it replaces (''), order
--      that it had when attached before ('0': never), dead instances (space between), revocation marks (same)
-- Returns {'ok', order, epoch, head, chain, {session}, {data}, {rooms}}, {'revoked'}, {'gone', kicked at | ''}
--      (removed meanwhile by `replaces`, by the limit or by an administrator) or {'late'}
local channel, user, socket, instance, most, ttl, replaces, before, dead, marks = unpack(ARGV, 3)
if late() then return {'late'} end
for mark in marks:gmatch('%S+') do
  if tonumber(redis.call('ZSCORE', KEYS[6], mark) or 0) > now then return {'revoked'} end
end
local flat, s, others, closing = redis.call('HGETALL', KEYS[1]), {}, {}, {}
for i = 1, #flat, 2 do s[flat[i]] = flat[i + 1] end
local mine = s['c:' .. socket]
-- removed, unless the hash is younger than the connection, or its last order older: then the store has lost it
if not mine and before ~= '0' and tonumber(s.b or before + 1) <= tonumber(before)
  and tonumber(s.g or 0) >= tonumber(before) then return {'gone', s.k or ''} end
for field, value in pairs(s) do
  local id, where, n = field:match('^c:(.+)$'), value:match('^(.-):(%d+)$')
  if id and id ~= socket then
    if (' ' .. dead .. ' '):find(' ' .. where .. ' ', 1, true) then redis.call('HDEL', KEYS[1], field)
    elseif id == replaces then closing[#closing + 1] = id
    else others[#others + 1] = {id, tonumber(n)} end
  end
end
table.sort(others, function(a, b) return a[2] < b[2] end)
for i = 1, #others - tonumber(most) + 1 do closing[#closing + 1] = others[i][1] end
local order = mine and mine:match('%d+$') or int(math.max(tonumber(s.g or 0) + 1, now))
if not mine then redis.call('HSET', KEYS[1], 'c:' .. socket, instance .. ':' .. order, 'g', order) end
if not s.b then redis.call('HSET', KEYS[1], 'b', order) end
redis.call('HSET', KEYS[2], socket, user)
for i, key in ipairs({KEYS[1], KEYS[4], KEYS[5]}) do redis.call('PEXPIRE', key, ttl) end
if #closing > 0 then
  for _, id in ipairs(closing) do redis.call('HDEL', KEYS[1], 'c:' .. id) end
  ring(channel, KEYS[3], 'x ' .. user .. ' ' .. table.concat(closing, ' '))
end
local e, h, c = head(KEYS[7])
return {'ok', order, e, h, c, flat, redis.call('HGETALL', KEYS[4]), redis.call('SMEMBERS', KEYS[5])}
