-- Writes down a server's figures for all to read, and forgets those of servers that are gone.
-- KEYS figures
-- ARGV[3..] instance, its figures, how long they are kept without being written again (ms), instances that are gone
-- Returns {'ok'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
if #ARGV > 5 then redis.call('HDEL', KEYS[1], unpack(ARGV, 6)) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'ok'}
