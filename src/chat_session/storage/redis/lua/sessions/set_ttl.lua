-- set_ttl: give the session another ttl; its deadline is that far from now.
-- KEYS  meta | agent | history | ids | due?
-- ARGV  session_id | ttl
-- REPLY OK deadline | GONE
local meta, agent, history, ids, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local session_id, ttl = ARGV[1], tonumber(ARGV[2])
--#include clock
--#include slide
local owner = call('HGET', meta, 'userId')
if due then call('ZCARD', due) end -- on a cluster the entry lives elsewhere
if not owner then return {'GONE'} end

local deadline = find_deadline(ttl)
call('HSET', meta, 'ttl', ARGV[2])
expire(deadline, meta, agent, history, ids)
if due then call('ZADD', due, deadline, session_id .. '/' .. owner) end
return {'OK', deadline}
