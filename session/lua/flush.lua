-- Uses sale, seats. Publishes what has changed among the seats, if the last frame is old enough.
-- KEYS as shared/sale.lua
-- ARGV none of its own
-- Returns {'sent' | 'later' | 'none'} or {'late'}. Repeating it does no harm.
if late() then return {'late'} end
return {flush()}
