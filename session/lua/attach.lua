-- Maps a connection to its user: the store's half of connecting. Run again, it changes nothing more.
-- KEYS session, index, counter, data, rooms, revoked, meta of the user's room, cut, recorder
-- ARGV[3..] channel, user, socket, instance, most connections, ttl ms, socket that it replaces (''), order
--      when attached before ('0': never), dead instances (space between), the token's marks (same), its birth ms
-- Returns {'ok', order, epoch, head, chain, {session}, {data}, {rooms}, notices rung in the bucket so far},
--      {'revoked'}, {'gone', kicked at | ''} (removed by `replaces`, the limit or an administrator) or {'late'}
local channel, user, socket, instance, most, ttl, replaces, before, dead, marks, issued = unpack(ARGV, 3)
if late() then return {'late'} end
local revoked = tonumber(redis.call('GET', KEYS[8]) or -1) >= tonumber(issued)
for mark in marks:gmatch('%S+') do
  revoked = revoked or tonumber(redis.call('ZSCORE', KEYS[6], mark) or 0) > now
end
if revoked then record(KEYS[9], ttl, 'refused ' .. instance .. ' token_revoked') return {'revoked'} end
local flat, s, others, closing = redis.call('HGETALL', KEYS[1]), {}, {}, {}
for i = 1, #flat, 2 do s[flat[i]] = flat[i + 1] end
local mine = s['c:' .. socket]
local no = before ~= '0' and fenced(KEYS[1], socket, before)
if no and no[1] == 'gone' then return no end
local tombs = {replaces ~= '' and replaces ~= socket and replaces or nil}
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
for _, id in ipairs(closing) do if id ~= replaces then tombs[#tombs + 1] = id end end
local order = mine and mine:match('%d+$') or int(math.max(tonumber(s.g or 0) + 1, now))
if not mine then redis.call('HSET', KEYS[1], 'c:' .. socket, instance .. ':' .. order, 'g', order, 'o', instance) end
redis.call('HSET', KEYS[2], socket, user)
bury(KEYS[1], s, tombs, KEYS[9], ttl)
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[9]}) do redis.call('PEXPIRE', key, ttl) end
if #closing > 0 then ring(channel, KEYS[3], 'x ' .. user .. ' ' .. table.concat(closing, ' ')) end
local e, h, c = head(KEYS[7])
return {'ok', order, e, h, c, flat, redis.call('HGETALL', KEYS[4]), redis.call('SMEMBERS', KEYS[5]),
  tonumber(redis.call('GET', KEYS[3]) or 0)}
