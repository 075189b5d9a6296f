-- set_ttl: give the session another ttl; its deadline is that far from now.
-- KEYS  meta | agent | history | ids | deadlines...
-- ARGV  session_id | ttl
-- REPLY OK deadline user_id | GONE
--       On a cluster the index of deadlines is on another node: it is not given.
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session_id, ttl = ARGV[1], tonumber(ARGV[2])
--#include clock
--#include slide
local owner = call('HGET', meta, 'userId')
for i = 5, #KEYS do call('ZCARD', KEYS[i]) end -- a key of another type ends the script here
if not owner then return {'GONE'} end

local deadline = find_deadline(ttl)
call('HSET', meta, 'ttl', ARGV[2])
expire(deadline, meta, agent, history, ids)
for i = 5, #KEYS do call('ZADD', KEYS[i], deadline, session_id .. '/' .. owner) end
return {'OK', deadline, owner}
