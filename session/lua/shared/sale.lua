-- Joined, where a script's first line says "Uses sale", between the prelude and the script.
-- KEYS 1..20 as `keys.Sale` names them; a script's own keys follow.
-- ARGV[3..15] channel, event, history size, history ttl ms, user, socket ('' none), socket that it replaces
--      ('' none), catalog ('' any), and the options' defaults: hold ms, longest hold ms, most seats, queue
--      grace ms, entry grace ms. A script's own arguments start at ARGV[16].
local CFG, MAP, SHOWN, HOLDS, DUE, PENDING, SALE, META, STREAM, FENCE, BOOKINGS, PRESENT, ABSENT, LAPSE,
  ADMITTED, CAP, RATE, LMETA, LSTREAM, INSTANCES = unpack(KEYS, 1, 20)
local channel, event, size, ttl, user, socket, replaces, catalog, hold_ms, longest_ms, most, grace, entry =
  unpack(ARGV, 3, 15)

local FENCE_MS = 20000

-- The request that made the event: one that was deleted and created anew is another. Set by settings().
local made

-- The event's settings, with the defaults where it sets none.
local function settings()
  local v = redis.call('HMGET', CFG, 'made', 'catalog', 'count', 'cap', 'rate', 'adm', 'hold', 'long', 'most',
    'start')
  local hold = tonumber(v[7])
  made = v[1]
  return {made = v[1], catalog = v[2] or '', count = tonumber(v[3] or 0), cap = tonumber(v[4]),
    rate = tonumber(v[5]), adm = tonumber(v[6]), hold = hold or tonumber(hold_ms),
    longest = tonumber(v[8]) or (hold and 2 * hold) or tonumber(longest_ms), most = tonumber(v[9] or most),
    start = tonumber(v[10] or 0)}
end

-- Why nothing is done: nil, {'absent'} where there is no such event, {'gone'} where this connection was
-- replaced. One that is named as replaced says nothing here any more; its commands are late within 20 s.
local function refused(c)
  if not c.made then return {'absent'} end
  if replaces ~= '' then
    redis.call('ZADD', FENCE, int(now + FENCE_MS), replaces)
    redis.call('ZREMRANGEBYSCORE', FENCE, '-inf', int(now))
    redis.call('PEXPIRE', FENCE, FENCE_MS)
  end
  local fence = socket ~= '' and redis.call('ZSCORE', FENCE, socket)
  if fence and tonumber(fence) > now then return {'gone'} end
end

-- A request that is asked again because its answer was lost: what it has done is remembered as long as a
-- replaced connection.
local function was_done(request)
  local till = request ~= '' and redis.call('ZSCORE', FENCE, 'r:' .. request)
  return till and tonumber(till) > now
end

local function is_done(request)
  redis.call('ZADD', FENCE, int(now + FENCE_MS), 'r:' .. request)
  redis.call('ZREMRANGEBYSCORE', FENCE, '-inf', int(now))
  redis.call('PEXPIRE', FENCE, FENCE_MS)
end

-- Counts what operators want to know: 'ad' admissions, 'ns' places and admissions that ended while their user was
-- away, 'hx' holds that have expired.
local function tally(what, n) redis.call('HINCRBY', SALE, what, n) end

local function score(key, member) return tonumber(redis.call('ZSCORE', key, member)) end

-- Ends the history of a room: nobody's position is part of what follows, and all its readers start anew.
local function turn_away(meta, stream, room)
  redis.call('DEL', stream)
  if redis.call('EXISTS', meta) == 1 then
    redis.call('HSET', meta, 'e', (incarnation()) .. ARGV[2], 'c', '')
    redis.call('PEXPIRE', meta, 2592000000)
    ring(channel, nil, 'g ' .. room)
  end
end
