-- Reads the published state of an event's seats with its exact position. Writes nothing.
-- KEYS event, shown, meta
-- ARGV none of its own
-- Returns {epoch, head, chain, a byte a seat, catalog ('' none)}
local e, h, c = head(KEYS[3])
return {e, h, c, redis.call('GET', KEYS[2]) or '', redis.call('HGET', KEYS[1], 'catalog') or ''}
