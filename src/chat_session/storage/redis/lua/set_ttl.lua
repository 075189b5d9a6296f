-- set_ttl: give the session another ttl; its deadline is that far from now.
-- KEYS  meta | agent | history | ids | due?
-- ARGV  session_id | ttl
-- REPLY OK deadline | GONE
--#include slide
local session_id, ttl = ARGV[1], tonumber(ARGV[2])

local user = redis.call('HGET', KEYS[1], 'userId')
if KEYS[5] then redis.call('ZCARD', KEYS[5]) end -- on a cluster the hint lives elsewhere
if not user then return {'GONE'} end

redis.call('HSET', KEYS[1], 'ttl', ttl)
local deadline = slide(ttl)
if KEYS[5] then redis.call('ZADD', KEYS[5], deadline, session_id .. ':' .. user) end
return {'OK', deadline}
