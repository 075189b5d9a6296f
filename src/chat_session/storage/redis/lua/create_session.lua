-- create_session: store a new session and both its hints. What was left of a dead one is removed.
-- The token is remembered, so that a repeated call succeeds as it did the first time.
-- KEYS  meta | agent | history | ids | due | user
-- ARGV  token | ttl | member | session_id | agent | fields...
-- REPLY OK | EXISTS
--#include slide
local token, ttl, member, session_id, agent = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

redis.call('ZSCORE', KEYS[5], member) -- the hints' keys are checked by reading them
redis.call('ZSCORE', KEYS[6], session_id)
if redis.call('HEXISTS', KEYS[1], 'userId') == 1 then
  local tokens = redis.call('HGET', KEYS[4], '\0calls') or ''
  if string.find(tokens, token .. '=', 1, true) then return {'OK'} end
  return {'EXISTS'}
end

redis.call('SET', KEYS[2], agent) -- first: after an UNLINK a server that is full would no longer refuse
redis.call('UNLINK', KEYS[1], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('HSET', KEYS[4], '\0calls', token .. '=0 ')
local deadline = slide(ttl)
redis.call('ZADD', KEYS[5], deadline, member)
redis.call('ZADD', KEYS[6], deadline, session_id)
return {'OK'}
