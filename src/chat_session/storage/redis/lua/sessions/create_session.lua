-- create_session: store a new session, with a history if it has one, and both its index entries. What was left
-- of a dead one is removed.
-- The token is among the fields, so that a repeated call succeeds as it did the first time.
-- KEYS  meta | agent | history | ids | due? | user?
-- ARGV  token | ttl | member | session_id | created_ms | new_agent | first_seq | fields | elements...
--       fields: twice their number, then name, value, …
-- REPLY OK deadline | EXISTS
--       On a cluster the entries live elsewhere: their keys are not given.
local meta, agent, history, ids, due, user = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local token, ttl, member, session_id, created_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local new_agent, seq, first = ARGV[6], tonumber(ARGV[7]), 9 + tonumber(ARGV[8])
--#include clock
--#include slide
--#include enter
local deadline = find_deadline(ttl)
local found = call('HMGET', meta, 'userId', 'cs:created')
local owner, created = found[1], found[2]
if owner and created == token then
  touch(deadline, owner)
  return {'OK', deadline}
end
if owner then return {'EXISTS'} end

if due then
  local place = find_place(user, created_ms) -- its type is checked by reading it; the first write checks its own
  call('ZADD', due, deadline, member)
  call('ZADD', user, place, session_id)
end
set(agent, new_agent, deadline) -- after an UNLINK a server that is full would no longer refuse
call('UNLINK', meta, history, ids)
call('HSET', meta, (table.unpack or unpack)(ARGV, 9, first - 1)) -- Lua 5.4 has the first, 5.1 the second
expire(deadline, meta)
for at = first, #ARGV, 3 do
  call('RPUSH', history, ARGV[at + 2])
  call('HSET', ids, ARGV[at], string.format('%d:%s', seq, ARGV[at + 1]))
  seq = seq + 1
end
if first < #ARGV then expire(deadline, history, ids) end
return {'OK', deadline}
