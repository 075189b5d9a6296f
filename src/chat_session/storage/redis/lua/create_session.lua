-- create_session: store a new session, with a history if it has one, and both its hints. What was left
-- of a dead one is removed.
-- The token is remembered, so that a repeated call succeeds as it did the first time.
-- KEYS  meta | agent | history | ids | due? | user?
-- ARGV  token | ttl | member | session_id | agent | first_seq | fields | elements...
--       fields: twice their number, then name, value, …
-- REPLY OK deadline | EXISTS
--       On a cluster the hints live elsewhere: their keys are not given.
--#include slide
local call = redis.call
local token, ttl, member, session_id, agent = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local seq, fields = tonumber(ARGV[6]), tonumber(ARGV[7])

if KEYS[5] then -- the types of the hints' keys are checked by reading them
  call('ZCARD', KEYS[5])
  call('ZCARD', KEYS[6])
end
if call('HEXISTS', KEYS[1], 'userId') == 1 then
  local tokens = call('HGET', KEYS[4], '\0calls') or ''
  if string.find(tokens, token .. '=', 1, true) then return {'OK', slide(ttl)} end
  return {'EXISTS'}
end

call('SET', KEYS[2], agent) -- first: after an UNLINK a server that is full would no longer refuse
call('UNLINK', KEYS[1], KEYS[3], KEYS[4])
call('HSET', KEYS[1], unpack(ARGV, 8, 7 + fields))
call('HSET', KEYS[4], '\0calls', token .. '=0 ')
for at = 8 + fields, #ARGV, 3 do
  call('RPUSH', KEYS[3], ARGV[at + 2])
  call('HSET', KEYS[4], ARGV[at], string.format('%.0f', seq) .. ':' .. ARGV[at + 1])
  seq = seq + 1
end
local deadline = slide(ttl)
if KEYS[5] then
  call('ZADD', KEYS[5], deadline, member)
  call('ZADD', KEYS[6], deadline, session_id)
end
return {'OK', deadline}
