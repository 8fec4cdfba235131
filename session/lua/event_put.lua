-- Writes an event's settings, and its seats where the caller names any.
-- KEYS event
-- ARGV[3..] id of this request, settings as JSON, number of seats ('' the seats stay), sections as JSON
--      ('' none), seat ids as JSON
-- Returns {'created' | 'replaced', settings, sections, number of seats, catalog} or {'late'}.
-- Asked again, it says again whether it was this request that created the event. `catalog` names the
-- list of seats: another list, another word.
local event = KEYS[1]
local request, settings, count, sections, seats = unpack(ARGV, 3)
if late() then return {'late'} end
redis.call('HSET', event, 'settings', settings)
redis.call('HSETNX', event, 'made', request)
if count ~= '' then
  redis.call('HSET', event, 'count', count, 'sections', sections, 'seats', seats, 'catalog', request)
end
local verdict = redis.call('HGET', event, 'made') == request and 'created' or 'replaced'
return {verdict, unpack(redis.call('HMGET', event, 'settings', 'sections', 'count', 'catalog'))}
