-- Counts the replicas that are connected, through Lua, where an ACL without INFO is no error. Writes nothing.
-- KEYS leases (only for the slot)
-- ARGV none of its own
-- Returns {how many}
local info = redis.pcall('INFO', 'replication')
return {type(info) == 'string' and tonumber(info:match('connected_slaves:(%d+)') or 0) or 0}
