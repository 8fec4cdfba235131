-- Joined, where a script's first line says "Uses sale, seats", after shared/sale.lua.
-- MAP is the truth, a byte a seat: a available, h held, s sold, x taken out of sale. SHOWN is what has been
-- published; PENDING names the seats changed since, and the users whose holds have expired.
-- A user's holds in an event end together: HOLDS user -> 'first until index=id ...', DUE user -> until.
local BUNDLE_MS = 100
local MAX_PENDING = 500
local WORDS = {a = 'available', h = 'held', s = 'sold', x = 'sold'}

local function state(i) return redis.call('GETRANGE', MAP, i, i) end

-- What a user holds: {first, till, seats = {{i, id} ...}, has = {i -> true}}; empty where nothing is held.
local function group(of)
  local line, g = redis.call('HGET', HOLDS, of), {first = 0, till = 0, seats = {}, has = {}}
  if not line then return g end
  local first, till, rest = line:match('^(%d+) (%d+)(.*)$')
  g.first, g.till = tonumber(first), tonumber(till)
  for i, id in rest:gmatch(' (%d+)=(%S+)') do
    g.seats[#g.seats + 1] = {tonumber(i), id}
    g.has[tonumber(i)] = true
  end
  return g
end

local function ids(seats)
  local out = {}
  for _, seat in ipairs(seats) do out[#out + 1] = seat[2] end
  return out
end

-- The seats that a script's arguments name from ARGV[at] on, as index=id.
local function named(at)
  local out = {}
  for k = at, #ARGV do
    local i, id = ARGV[k]:match('^(%d+)=(.+)$')
    out[#out + 1] = {tonumber(i), id}
  end
  return out
end

-- Seats change to `to`; `held` and `sold` are how many more there are of each.
local function turn(seats, to, held, sold)
  local named = {}
  for _, seat in ipairs(seats) do
    redis.call('SETRANGE', MAP, seat[1], to)
    named[#named + 1], named[#named + 2] = seat[1], seat[2]
  end
  if #named > 0 then redis.call('HSET', PENDING, unpack(named)) end
  if held ~= 0 then redis.call('HINCRBY', SALE, 'h', held) end
  if sold ~= 0 then redis.call('HINCRBY', SALE, 's', sold) end
end

-- How often anybody's holds have changed here: of two answers the one with the higher number is newer.
local changes
local function version()
  changes = changes or tonumber(redis.call('HGET', SALE, 'v') or 0)
  return changes
end

-- That a hold has ended waits to be told: not of seats that the user holds again by then.
local function unsay(of, g)
  local note = #g.seats > 0 and redis.call('HGET', PENDING, 'x ' .. of)
  if not note then return end
  local held, out = {}, {note:match('^%d+')}
  for _, seat in ipairs(g.seats) do held[seat[2]] = true end
  for id in note:gmatch(' (%S+)') do if not held[id] then out[#out + 1] = id end end
  if #out == 1 then redis.call('HDEL', PENDING, 'x ' .. of)
  else redis.call('HSET', PENDING, 'x ' .. of, table.concat(out, ' ')) end
end

-- Writes what a user holds.
local function keep(of, g)
  changes = redis.call('HINCRBY', SALE, 'v', 1)
  unsay(of, g)
  if #g.seats == 0 then
    redis.call('HDEL', HOLDS, of)
    redis.call('ZREM', DUE, of)
  else
    table.sort(g.seats, function(a, b) return a[1] < b[1] end)
    local line = {int(g.first), int(g.till)}
    for _, seat in ipairs(g.seats) do line[#line + 1] = int(seat[1]) .. '=' .. seat[2] end
    redis.call('HSET', HOLDS, of, table.concat(line, ' '))
    redis.call('ZADD', DUE, int(g.till), of)
  end
end

-- Tells the servers, whose other tabs may want to know.
local function tell_holds(of, g)
  local till = #g.seats > 0 and g.till or 0
  ring(channel, nil, 'h ' .. event .. ' ' .. of .. ' ' .. (socket ~= '' and socket or '-') .. ' '
    .. int(g.first) .. ' ' .. int(till) .. ' ' .. int(version()) .. ' ' .. table.concat(ids(g.seats), ' '))
end

local function expire_one(of)
  local g = group(of)
  turn(g.seats, 'a', -#g.seats, 0)
  tally('hx', 1)
  keep(of, {seats = {}})
  local told = (redis.call('HGET', PENDING, 'x ' .. of) or ''):match('^%d+( .*)$') or ''
  redis.call('HSET', PENDING, 'x ' .. of, int(version()) .. told .. ' ' .. table.concat(ids(g.seats), ' '))
end

-- Ends holds that are over, at most `limit` users'.
local function expire(limit)
  local over = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(now), 'LIMIT', 0, limit)
  for _, of in ipairs(over) do expire_one(of) end
end

-- What the user holds now, after what is over was ended.
local function mine()
  expire(50)
  local g = group(user)
  if #g.seats == 0 or g.till > now then return g end
  expire_one(user)
  return group(user)
end

-- The answer of a script that has changed what a user holds.
local function answer(g, flushed)
  return {'ok', int(g.first), int(g.till), version(), made, flushed, unpack(ids(g.seats))}
end

-- Publishes what has changed, in one frame, unless the last one is younger than 100 ms: then 'later', and
-- whoever hears that asks again. 'sent' or 'none' otherwise. A seat that is again as it was is not told.
local function flush(force)
  local waits, last = redis.call('HLEN', PENDING), tonumber(redis.call('HGET', SALE, 'f') or 0)
  if waits == 0 then return 'none' end
  if not force and waits < MAX_PENDING and now >= last and now - last < BUNDLE_MS then return 'later' end
  local flat, changed, private, seats, notes = redis.call('HGETALL', PENDING), {}, {}, {}, {}
  for k = 1, #flat, 2 do
    local i = tonumber(flat[k])
    local is = i and state(i)
    if not i then notes[#notes + 1] = '\n' .. flat[k] .. ' ' .. flat[k + 1]
    elseif is ~= redis.call('GETRANGE', SHOWN, i, i) then
      changed[#changed + 1] = {i, is}
      private[#private + 1] = flat[k] .. is
      seats[#seats + 1] = '"' .. flat[k + 1] .. '":"' .. WORDS[is] .. '"'
    end
  end
  redis.call('DEL', PENDING)
  if #changed == 0 and #notes == 0 then return 'none' end
  for _, seat in ipairs(changed) do redis.call('SETRANGE', SHOWN, seat[1], seat[2]) end
  redis.call('HSET', SALE, 'f', int(now))
  append(META, STREAM, position(META, '', 0), {
    left = '{"type":"seats-updated","room":"seats:' .. event .. '",', channel = channel, size = size,
    right = ',"eventId":"' .. event .. '","seats":{' .. table.concat(seats, ',') .. '}}',
    ttl = tonumber(ttl), room = 'seats:' .. event, private = table.concat(private, ' ') .. table.concat(notes)})
  return 'sent'
end

-- The indexes that are held or sold in a map, at most 100, of those that a script's arguments name from
-- ARGV[at] on, as from-to.
local function taken_among(map, at)
  local taken = {}
  for k = at, #ARGV do
    local from, to = ARGV[k]:match('(%d+)-(%d+)')
    local i = map:find('[hs]', from + 1)
    while i and i <= to + 1 and #taken < 100 do
      taken[#taken + 1] = int(i - 1)
      i = map:find('[hs]', i + 1)
    end
  end
  return taken
end
