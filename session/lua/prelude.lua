-- Joined in front of every script when the store loads it; docs/redis.md explains the rules.
-- ARGV[1] deadline, Unix ms by this server's clock: a script that writes and comes later changes nothing.
-- ARGV[2] nonce: 6 random characters, fresh for each attempt. Scripts' own arguments start at ARGV[3].
-- The store sets PUBLISH before this text: 'PUBLISH', or 'SPUBLISH' on a Cluster.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function int(n) return string.format('%d', n) end

local function late() return now > tonumber(ARGV[1]) end

-- The first 10 characters of this primary's replication id, and of the one before. An id is new after
-- every promotion and restart, so it names an incarnation; without INFO there is only one.
local function incarnation()
  local info = redis.pcall('INFO', 'replication')
  if type(info) ~= 'string' then return '0000000000', '0000000000' end
  local id, before = info:match('master_replid:(%w+)'), info:match('master_replid2:(%w+)')
  return (id or '0000000000'):sub(1, 10), (before or '0000000000'):sub(1, 10)
end

-- Where a room is, for readers: epoch, head, chain. Writes nothing; a room never used has an epoch too.
local function head(meta)
  local m = redis.call('HMGET', meta, 'e', 'h', 'c')
  if m[1] then return m[1], tonumber(m[2]), m[3] end
  local inc, before = incarnation()
  return inc .. '0', 0, before .. '0:0'
end

-- Where a room is, for a writer. change: 'born' (first use) or 'turn' (another incarnation's epoch, or a
-- reader of this very epoch has seen more than there is).
local function position(meta, seen_epoch, seen)
  local m = redis.call('HMGET', meta, 'e', 'h', 'c')
  local inc, before = incarnation()
  if not m[1] then
    return {epoch = inc .. ARGV[2], head = 0, chain = inc .. '0:0 ' .. before .. '0:0', change = 'born'}
  end
  local h = tonumber(m[2])
  if m[1]:sub(1, 10) == inc and not (seen_epoch == m[1] and seen > h) then
    return {epoch = m[1], head = h, chain = m[3]}
  end
  local links = {m[1] .. ':' .. int(h)}
  for link in m[3]:gmatch('%S+') do if #links < 16 then links[#links + 1] = link end end
  return {epoch = inc .. ARGV[2], head = h, chain = table.concat(links, ' '), change = 'turn'}
end

-- Why a connection may not speak for its user: nil, {'gone', kicked at | ''} where it was removed, or {'lost'}
-- where the store does not know it, and it may attach again. That it is not there proves no removal: the
-- store may have lost its tail. A removal leaves a tombstone, x:<socket>; a kick the order up to which it went.
local function fenced(session, socket, order)
  if socket == '' or redis.call('HEXISTS', session, 'c:' .. socket) == 1 then return nil end
  local s = redis.call('HMGET', session, 'x:' .. socket, 'k')
  if s[1] or (s[2] and tonumber(s[2]) >= tonumber(order)) then return {'gone', s[2] or ''} end
  return {'lost'}
end

-- Lengthens the life of what there is under these keys; a shorter one than it has is never given.
local function lengthen(keys, ttl)
  for _, key in ipairs(keys) do
    local left = redis.call('PTTL', key)
    if left ~= -2 and left < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
  end
end

-- Notes what befell a user, for its flight recorder: newest first, 50 at most. The same refusal again, at
-- whichever server, has the last time only, so that who knocks ever anew pushes nothing out. A full store must
-- not break what is noted. ttl: of one that begins; whatever renews the session renews it.
local function record(recorder, ttl, what, at)
  local entry = int(at or now) .. ' ' .. what
  local why = what:match('^refused %S+ (.*)$')
  if why then
    local newest = redis.call('LINDEX', recorder, 0) or ''
    if newest:match('^%d+ refused %S+ (.*)$') == why then redis.pcall('LSET', recorder, 0, entry) return end
  end
  local n = redis.pcall('LPUSH', recorder, entry)
  if n == 1 then redis.call('PEXPIRE', recorder, ttl)
  elseif type(n) == 'number' and n > 50 then redis.call('LTRIM', recorder, 0, 49) end
end

-- Removes connections of a user for good: at most ten tombstones are kept, the newest. s: the hash as it was.
local function bury(session, s, sockets, recorder, ttl)
  if #sockets == 0 then return end
  local old = {}
  for field, at in pairs(s) do
    if field:sub(1, 2) == 'x:' then old[#old + 1] = {field, tonumber(at)} end
  end
  table.sort(old, function(a, b) return a[2] < b[2] end)
  for i = 1, #old + #sockets - 10 do if old[i] then redis.call('HDEL', session, old[i][1]) end end
  for _, id in ipairs(sockets) do
    local was = (s['c:' .. id] or ''):match('^(.-):%d+$')
    if was then record(recorder, ttl, 'replaced ' .. was .. ' ' .. id .. s['c:' .. id]:gsub('^.*:', ' ')) end
    redis.call('HDEL', session, 'c:' .. id)
    redis.call('HSET', session, 'x:' .. id, int(now))
  end
end

-- Rings the bell: `what` on the channel; in a user's bucket with the number of the notice.
local function ring(channel, counter, what)
  local n = counter and redis.call('INCR', counter) or 0
  redis.call(PUBLISH, channel, int(n) .. ' ' .. what)
end

-- Rings in a user's bucket where another instance than `own` has a connection of the user.
local function tell_others(session, own, channel, counter, what)
  for _, value in ipairs(redis.call('HVALS', session)) do
    local instance = value:match('^(i%-%x+):%d+$')
    if instance and instance ~= own then ring(channel, counter, what) return end
  end
end

-- Appends one publication and rings. p: of position(); o: left, right, private, size, ttl, channel, room,
-- counter. The XADD is the first write that can be refused, and nothing may be refused after it.
local function append(meta, stream, p, o)
  if p.change == 'born' then redis.call('DEL', stream) end
  local n = int(p.head + 1)
  local private = o.private or ''
  local frame = o.left .. '"offset":' .. n .. (p.change and ',"epoch":"' .. p.epoch .. '"' or '') .. o.right
  redis.call('XADD', stream, 'MAXLEN', '=', o.size, n .. '-0', 'f', frame, 'p', private, 't', int(now))
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 32)
  if now - tonumber(oldest[1][2][6]) > o.ttl then
    local keep
    for _, entry in ipairs(oldest) do
      keep = entry[1]
      if now - tonumber(entry[2][6]) <= o.ttl then break end
    end
    redis.call('XTRIM', stream, 'MINID', keep)
  end
  if p.change then redis.call('HSET', meta, 'e', p.epoch, 'h', n, 'c', p.chain)
  else redis.call('HSET', meta, 'h', n) end
  redis.call('PEXPIRE', stream, int(o.ttl + 60000))
  redis.call('PEXPIRE', meta, 2592000000)
  ring(o.channel, o.counter, 'p ' .. o.room .. ' ' .. p.epoch .. ' ' .. n .. ' ' .. #private .. ' ' .. private .. frame)
  return n
end
