-- Uses sale, queue. Gives a user a place in the line, or keeps the one that it has; lets it in where it can.
-- KEYS as shared/sale.lua, and the users here
-- ARGV[16..] instance, 'join' | 'arrive' (only if there is a place)
-- Returns as place() in shared/queue.lua, {'open'} (there is no waiting room), {'absent'}, {'gone'} or {'late'}.
--      Repeating it does no harm.
local instance, how = ARGV[16], ARGV[17]
if late() then return {'late'} end
local c = settings()
local no = refused(c)
if no then return no end
if not c.cap then return {'open'} end
local known = score(PRESENT, user) or score(ABSENT, user) or score(ADMITTED, user)
local new
if known then come(user, KEYS[21], instance) end
if how == 'join' and not (score(PRESENT, user) or score(ADMITTED, user)) then
  new = user
  redis.call('ZADD', PRESENT, int(next_seq()), user)
  come(user, KEYS[21], instance)
end
admit(c, new)
write()
return place(c, user)
