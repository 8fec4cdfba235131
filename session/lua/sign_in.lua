-- Begins a sign-in: the family of its refresh tokens, of which the first has generation 1.
-- KEYS family
-- ARGV[3..] life ms
-- Returns {'ok'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
redis.call('HSETNX', KEYS[1], 'n', 1)
redis.call('HSETNX', KEYS[1], 'b', int(now))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'ok'}
