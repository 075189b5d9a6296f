-- set_ttl: give the session another ttl; its deadline is that far from now.
-- KEYS  meta | agent | history | ids | due
-- ARGV  session_id | ttl
-- REPLY OK | GONE
--#include slide
local session_id, ttl = ARGV[1], tonumber(ARGV[2])

local user = redis.call('HGET', KEYS[1], 'userId')
redis.call('ZCARD', KEYS[5])
if not user then return {'GONE'} end

redis.call('HSET', KEYS[1], 'ttl', ttl)
redis.call('ZADD', KEYS[5], slide(ttl), session_id .. ':' .. user)
return {'OK'}
