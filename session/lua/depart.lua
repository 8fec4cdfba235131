-- Uses sale, queue. Users have no connection at an instance any more: those who have none elsewhere are absent.
-- KEYS as shared/sale.lua, then who is at each instance, the one that is left first
-- ARGV[16..] how many instances, their names in the same order, users ...
-- Returns {'ok'}, {'instances', all that there are ...} where it was not given all, or {'late'}. Repeating it
--      does no harm.
local many = tonumber(ARGV[16])
local given = {}
if late() then return {'late'} end
for k = 17, 16 + many do given[ARGV[k]] = true end
local all = redis.call('SMEMBERS', INSTANCES)
for _, instance in ipairs(all) do if not given[instance] then return {'instances', unpack(all)} end end
for k = 17 + many, #ARGV do
  local of, elsewhere = ARGV[k], false
  redis.call('SREM', KEYS[21], of)
  for at = 22, 20 + many do elsewhere = elsewhere or redis.call('SISMEMBER', KEYS[at], of) == 1 end
  local seq, till = score(PRESENT, of), score(ADMITTED, of)
  if not elsewhere and seq then
    redis.call('ZREM', PRESENT, of)
    redis.call('ZADD', ABSENT, int(seq), of)
    redis.call('ZADD', LAPSE, int(now + grace), of)
  elseif not elsewhere and till then
    redis.call('ZADD', ADMITTED, 'LT', int(now + entry), of)
  end
end
return {'ok'}
