-- Joined, where a script's first line says "Uses sale, ..., queue", after shared/sale.lua.
-- A place is a sequence number: PRESENT and ABSENT user -> seq, each waiter in exactly one of them; LAPSE
-- absent user -> end of the grace. ADMITTED user -> until when, CAP user -> the latest that it may become.
-- Changes go into the ledger, a room that only servers read: lines 'A till seq user', 'L seq user socket why'
-- (out of the line), 'E user socket why' (an admission has ended).
local FAR = 9007199254740991
local RATE_MS = 100
local AT_ONCE = 200
local HOLE = 1000000
local SETTLE_MS = 3000
local lines = {}

local function note(...) lines[#lines + 1] = table.concat({...}, ' ') end

-- Writes the ledger: the last thing that a script does to the line.
local function write()
  if #lines == 0 then return end
  append(LMETA, LSTREAM, position(LMETA, '', 0), {left = '{', right = '}', private = table.concat(lines, '\n'),
    size = size, ttl = tonumber(ttl), channel = channel, room = '#ledger:' .. event})
end

-- The next number. Another incarnation of the store may have lost the newest ones: it leaves a hole, into
-- which they can be put back, and gives none twice.
local function next_seq()
  local inc, s = incarnation(), redis.call('HMGET', SALE, 'inc', 'seq')
  local seq = tonumber(s[2] or 0)
  if s[1] ~= inc then
    redis.call('HSET', SALE, 'inc', inc, 'edge', int(seq))
    seq = seq + HOLE
  end
  redis.call('HSET', SALE, 'seq', int(seq + 1))
  return seq + 1
end

-- Takes a user out of the line; nil where it had no place.
local function forget(of, why, by)
  local seq = score(PRESENT, of) or score(ABSENT, of)
  if not seq then return nil end
  for _, key in ipairs({PRESENT, ABSENT, LAPSE}) do redis.call('ZREM', key, of) end
  note('L', int(seq), of, by or '-', why)
  if why == 'expired' then tally('ns', 1) end
  return seq
end

local function end_admission(of, why, by)
  -- sooner than it might have been at the latest: its user has gone
  local till, latest = score(ADMITTED, of), tonumber(redis.call('HGET', CAP, of) or FAR)
  if why == 'expired' and till and till < latest then tally('ns', 1) end
  redis.call('HDEL', CAP, of)
  if redis.call('ZREM', ADMITTED, of) == 1 then note('E', of, by or '-', why) return true end
end

-- Ends the graces and admissions that are over.
local function purge()
  for _, of in ipairs(redis.call('ZRANGEBYSCORE', LAPSE, '-inf', int(now), 'LIMIT', 0, AT_ONCE)) do
    if not forget(of, 'expired') then redis.call('ZREM', LAPSE, of) end
  end
  for _, of in ipairs(redis.call('ZRANGEBYSCORE', ADMITTED, '-inf', int(now), 'LIMIT', 0, AT_ONCE)) do
    end_admission(of, 'expired')
  end
end

-- How many the rate allows now: any 10 s hold at most ten times the rate, and what was not used is saved up
-- for a second. A rate below one in 10 s admits one where the last is long enough ago.
local function allowance(c)
  if not c.rate then return AT_ONCE end
  local last, window = tonumber(redis.call('HGET', SALE, 'last') or 0), math.max(1000, 1000 / c.rate)
  local saved = math.floor(c.rate * math.min(math.max(now - last, 0), window) / 1000 + 1e-9)
  if saved < 1 then return 0 end
  local used = 0
  for _, line in ipairs(redis.call('LRANGE', RATE, 0, 127)) do
    local at, n = line:match('^(%d+) (%d+)')
    if (tonumber(at) + 1) * RATE_MS > now - 10000 then used = used + tonumber(n) end
  end
  return math.min(math.max(1, math.floor(10 * c.rate)) - used, saved)
end

-- The last minute's admissions of those who had waited: 'second n' each, newest first, in one field.
local function minute()
  local out, edge = {}, now / 1000 - 60
  for second, n in (redis.call('HGET', SALE, 'm') or ''):gmatch('(%d+) (%d+)') do
    if tonumber(second) > edge and #out < 61 then out[#out + 1] = {tonumber(second), tonumber(n)} end
  end
  return out
end

local function remember(waited)
  local second, all, out = math.floor(now / 1000), minute(), {}
  if all[1] and all[1][1] == second then all[1][2] = all[1][2] + waited
  else table.insert(all, 1, {second, waited}) end
  for _, one in ipairs(all) do out[#out + 1] = int(one[1]) .. ' ' .. int(one[2]) end
  redis.call('HSET', SALE, 'm', table.concat(out, ' '))
end

-- Counts n admissions, of whom `waited` had been in the line before.
local function count(c, n, waited)
  local at, head = int(math.floor(now / RATE_MS)), redis.call('LINDEX', RATE, 0)
  local k, m = (head or ''):match('^(%d+) (%d+)$')
  if k == at then redis.call('LSET', RATE, 0, at .. ' ' .. int(m + n))
  else
    redis.call('LPUSH', RATE, at .. ' ' .. int(n))
    redis.call('LTRIM', RATE, 0, 127)
  end
  if waited > 0 then remember(waited) end
  if c.rate then
    local last, window = tonumber(redis.call('HGET', SALE, 'last') or 0), math.max(1000, 1000 / c.rate)
    redis.call('HSET', SALE, 'last', int(math.min(now, math.max(last, now - window) + math.ceil(n / c.rate * 1000))))
  end
end

local function let_in(c, of, seq, till)
  till = till or c.adm and now + c.adm or FAR
  redis.call('ZREM', PRESENT, of)
  redis.call('ZADD', ADMITTED, int(till), of)
  if till < FAR then redis.call('HSET', CAP, of, int(till)) end
  note('A', till < FAR and int(till) or 0, int(seq), of)
end

-- Whether another incarnation of the store answers since a moment ago: who was let in by writes that it has
-- lost is put back first, or the others would take that room.
local function is_settling()
  local inc, s = incarnation(), redis.call('HMGET', SALE, 'ainc', 'settle')
  if s[1] == inc then return now < tonumber(s[2] or 0) end
  redis.call('HSET', SALE, 'ainc', inc, 'settle', s[1] and int(now + SETTLE_MS) or 0)
  return s[1] and true or false
end

-- Lets in whom capacity, rate and pause allow, the first of those who are there first. `new` has come just now.
local function admit(c, new)
  purge()
  if not c.cap or now < c.start or redis.call('HGET', SALE, 'paused') then return end
  local n = math.min(c.cap - redis.call('ZCARD', ADMITTED), AT_ONCE)
  if n <= 0 or redis.call('ZCARD', PRESENT) == 0 then return end
  n = math.min(n, allowance(c))
  if n <= 0 or is_settling() then return end
  local heads, waited = redis.call('ZRANGE', PRESENT, 0, n - 1, 'WITHSCORES'), 0
  for i = 1, #heads, 2 do
    let_in(c, heads[i], heads[i + 1])
    if heads[i] ~= new then waited = waited + 1 end
  end
  count(c, #heads / 2, waited)
  tally('ad', #heads / 2)
end

-- The admissions of the last minute: how many of those who waited came after the first second of it, and
-- within how many ms. One alone says nothing of the rate.
local function measure()
  local all, n = minute(), 0
  for i = 1, #all - 1 do n = n + all[i][2] end
  local first = all[#all] or {0}
  return n, math.max(now - (first[1] + 1) * 1000, 1000)
end

-- What everyone in the line is told of it: total, present, admitted, held, sold, seats, admissions of the last
-- minute, over how many ms, whether it is paused, and what was tallied.
local function figures(c)
  local s = redis.call('HMGET', SALE, 'h', 's', 'n', 'span', 'paused', 'ad', 'ns', 'hx')
  local present = redis.call('ZCARD', PRESENT)
  return {present + redis.call('ZCARD', ABSENT), present, redis.call('ZCARD', ADMITTED), tonumber(s[1] or 0),
    tonumber(s[2] or 0), c.count, tonumber(s[3] or 0), tonumber(s[4] or 0), s[5] and 1 or 0,
    tonumber(s[6] or 0), tonumber(s[7] or 0), tonumber(s[8] or 0)}
end

-- Where a user stands: {'admitted', till | 0, epoch and head of the ledger, figures, request that made the
-- event}, {'waiting', seq, position, epoch, head, figures, request} or {'none', epoch, head}.
local function place(c, of)
  local e, h = head(LMETA)
  local till = score(ADMITTED, of)
  if till and till > now then
    return {'admitted', tonumber(redis.call('HGET', CAP, of) or 0), e, h, figures(c), c.made}
  end
  local seq = score(PRESENT, of) or score(ABSENT, of)
  if not seq then return {'none', e, h} end
  local before = '(' .. int(seq)
  local ahead = redis.call('ZCOUNT', PRESENT, '-inf', before) + redis.call('ZCOUNT', ABSENT, '-inf', before)
  return {'waiting', int(seq), ahead + 1, e, h, figures(c), c.made}
end

-- A user is there, at an instance: an absent one is back at its place, unless its grace is over.
local function come(of, here, instance)
  local till = score(ADMITTED, of)
  if till and till > now then
    redis.call('ZADD', ADMITTED, redis.call('HGET', CAP, of) or int(FAR), of)
  elseif till then end_admission(of, 'expired') end
  local seq, lapse = score(ABSENT, of), score(LAPSE, of)
  if seq and lapse and lapse > now then
    redis.call('ZREM', ABSENT, of)
    redis.call('ZREM', LAPSE, of)
    redis.call('ZADD', PRESENT, int(seq), of)
  elseif seq then forget(of, 'expired') end
  if not score(PRESENT, of) and not score(ADMITTED, of) then return end
  redis.call('SADD', here, of)
  redis.call('PEXPIRE', here, 172800000)
  redis.call('SADD', INSTANCES, instance)
end
