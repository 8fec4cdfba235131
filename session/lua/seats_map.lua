-- Reads the true state of an event's seats, to choose from. Writes nothing.
-- KEYS event, map
-- ARGV none of its own
-- Returns {catalog ('' none), a byte a seat}
return {redis.call('HGET', KEYS[1], 'catalog') or '', redis.call('GET', KEYS[2]) or ''}
