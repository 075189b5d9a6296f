-- create_session: store a new session, with a history if it has one, and its index entries. What was left of a
-- dead one is removed.
-- The token is among the fields, so that a repeated call succeeds as it did the first time.
-- KEYS  meta | agent | history | ids | entries...
-- ARGV  token | ttl | created_ms | new_agent | first_seq | fields | entries... | elements...
--       entries: for each its member and its order; fields: twice their number, and behind the entries name, value, …
-- REPLY OK deadline | EXISTS fields
--       On a cluster the entries are on other nodes: none are given.
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, ttl, created_ms, new_agent, seq = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local first_field = 7 + 2 * (#KEYS - 4)
local first = first_field + tonumber(ARGV[6])
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
if owner then return {'EXISTS', call('HGETALL', meta)} end

local scores = {}
for i = 5, #KEYS do -- each key is read before the first write: one of another type ends the script here
  local by_deadline = ARGV[2 * i - 2] == 'deadline' and call('ZCARD', KEYS[i])
  scores[i] = by_deadline and deadline or find_place(KEYS[i], created_ms)
end
for i = 5, #KEYS do call('ZADD', KEYS[i], scores[i], ARGV[2 * i - 3]) end
set(agent, new_agent, deadline) -- after an UNLINK a server that is full would no longer refuse
call('UNLINK', meta, history, ids)
call('HSET', meta, (table.unpack or unpack)(ARGV, first_field, first - 1)) -- Lua 5.4 has the first, 5.1 the second
expire(deadline, meta)
for at = first, #ARGV, 3 do
  call('RPUSH', history, ARGV[at + 2])
  call('HSET', ids, ARGV[at], string.format('%d:%s', seq, ARGV[at + 1]))
  seq = seq + 1
end
if first < #ARGV then expire(deadline, history, ids) end
--#include notify
return {'OK', deadline}
