-- set_ttl: give the session another ttl; its deadline is that far from now. While people depend on the session it has
-- at least waiting_ttl, and the facts of the desk keep its own.
-- KEYS  meta | agent | history | ids | deadlines...
-- ARGV  session_id | ttl | waiting_ttl
-- REPLY OK ttl user_id | GONE
--       On a cluster the index of deadlines is on another node: it is not given.
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session_id, ttl, waiting_ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
--#include clock
--#include slide
local found = call('HMGET', meta, 'userId', 'cs:desk')
local owner, facts = found[1], found[2]
for i = 5, #KEYS do call('ZCARD', KEYS[i]) end -- a key of another type ends the script here
if not owner then return {'GONE'} end

if facts and string.find(facts, '"state":"', 1, true) then -- it waits, or is assigned
  facts = string.gsub(facts, '^({"stamp":%d+),"ownTtl":%d+,"deskTtl":%d+', '%1', 1)
  if ttl ~= -1 and ttl < waiting_ttl then
    facts = string.gsub(facts, '^({"stamp":%d+)', string.format('%%1,"ownTtl":%d,"deskTtl":%d', ttl, waiting_ttl), 1)
    ttl = waiting_ttl
  end
  call('HSET', meta, 'cs:desk', facts)
end
local deadline = find_deadline(ttl)
call('HSET', meta, 'ttl', string.format('%d', ttl))
expire(deadline, meta, agent, history, ids)
for i = 5, #KEYS do call('ZADD', KEYS[i], deadline, session_id .. '/' .. owner) end
--#include notify
return {'OK', ttl, owner}
