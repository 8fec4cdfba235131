-- Appends a message to a room's history and publishes it; the same request id brings the first answer.
-- KEYS meta, stream, ids[, counter]
-- ARGV[3..] channel, room, request id ('' none), frame up to the offset, frame from the offset to the time
--      of sending, history size, history ttl ms, epoch and offset that the caller has seen ('' and 0: none)
-- Returns {'ok' | 'again', epoch, offset} or {'late'}
local channel, room, rid, left, right, size, ttl, seen_epoch, seen = unpack(ARGV, 3)
if late() then return {'late'} end
local p = position(KEYS[1], seen_epoch, tonumber(seen))
if rid ~= '' and p.change ~= 'born' then
  local was = redis.call('ZSCORE', KEYS[3], rid)
  if was then
    local epoch = p.epoch
    -- its epoch is the oldest one in the chain that reaches so far
    for link, last in p.chain:gmatch('(%S+):(%d+)') do
      if tonumber(last) >= tonumber(was) then epoch = link end
    end
    return {'again', epoch, int(tonumber(was))}
  end
end
local n = append(KEYS[1], KEYS[2], p, {
  left = left, right = right .. int(now) .. '}', size = size, ttl = tonumber(ttl), channel = channel,
  room = room, counter = KEYS[4]})
if p.change == 'born' then redis.call('DEL', KEYS[3]) end
if rid ~= '' then
  redis.call('ZADD', KEYS[3], n, rid)
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -10001)
  redis.call('PEXPIRE', KEYS[3], 86400000)
end
return {'ok', p.epoch, n}
