-- set_ttl: give the session another ttl; its deadline is that far from now.
-- KEYS  meta | agent | history | ids | due?
-- ARGV  session_id | ttl
-- REPLY OK deadline | GONE
local session_id, ttl = ARGV[1], tonumber(ARGV[2])
--#include clock
--#include slide
local user = call('HGET', KEYS[1], 'userId')
if KEYS[5] then call('ZCARD', KEYS[5]) end -- on a cluster the entry lives elsewhere
if not user then return {'GONE'} end

local deadline = find_deadline(ttl)
call('HSET', KEYS[1], 'ttl', ARGV[2])
expire(deadline, KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if KEYS[5] then call('ZADD', KEYS[5], deadline, session_id .. '/' .. user) end
return {'OK', deadline}
