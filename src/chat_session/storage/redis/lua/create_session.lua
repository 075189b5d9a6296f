-- create_session: store a new session, with a history if it has one, and both its hints. What was left
-- of a dead one is removed.
-- The token is among the fields, so that a repeated call succeeds as it did the first time.
-- KEYS  meta | agent | history | ids | due? | user?
-- ARGV  token | ttl | member | session_id | agent | first_seq | fields | elements...
--       fields: twice their number, then name, value, …
-- REPLY OK deadline | EXISTS
--       On a cluster the hints live elsewhere: their keys are not given.
local token, ttl, member, session_id, agent = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local seq, first = tonumber(ARGV[6]), 8 + tonumber(ARGV[7])
--#include slide
local deadline = find_deadline(ttl)
local owner, tokens = unpack(call('HMGET', KEYS[1], 'userId', 'epochTokens'))
if owner and string.find(tokens or '', token, 1, true) then
  touch(deadline, owner)
  return {'OK', deadline}
end
if owner then return {'EXISTS'} end

if KEYS[5] then
  call('ZCARD', KEYS[6]) -- its type is checked by reading it; the first write checks its own
  call('ZADD', KEYS[5], deadline, member)
  call('ZADD', KEYS[6], deadline, session_id)
end
set(KEYS[2], agent, deadline) -- after an UNLINK a server that is full would no longer refuse
call('UNLINK', KEYS[1], KEYS[3], KEYS[4])
call('HSET', KEYS[1], unpack(ARGV, 8, first - 1))
expire(deadline, KEYS[1])
for at = first, #ARGV, 3 do
  call('RPUSH', KEYS[3], ARGV[at + 2])
  call('HSET', KEYS[4], ARGV[at], string.format('%d:%s', seq, ARGV[at + 1]))
  seq = seq + 1
end
if first < #ARGV then expire(deadline, KEYS[3], KEYS[4]) end
return {'OK', deadline}
