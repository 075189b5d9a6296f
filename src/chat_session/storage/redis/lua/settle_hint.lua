-- settle_hint: look whether a session lives, and put both its hints right.
-- A living one is scored with its deadline. A dead one is removed, or marked as known to be dead.
-- KEYS  meta | due | user
-- ARGV  member | session_id | user_id | dead
-- REPLY ALIVE | DEAD removed
local member, session_id, user_id, dead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local time = redis.call('TIME')
local owner = redis.call('HGET', KEYS[1], 'userId')
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
if owner == user_id then
  local left = redis.call('PTTL', KEYS[1])
  local deadline = '+inf'
  if left >= 0 then -- a millisecond early: a hint must never be later than what it stands for
    deadline = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + left - 1)
  end
  redis.call('ZREM', KEYS[2], member) -- first: with it a server that is full lets the rest pass
  redis.call('ZADD', KEYS[2], deadline, member)
  redis.call('ZADD', KEYS[3], deadline, session_id)
  return {'ALIVE'}
end
if dead == 'mark' then
  if redis.call('ZREM', KEYS[2], member) == 0 then -- no sweep would come by: the other hint goes now
    redis.call('ZREM', KEYS[3], session_id)
    return {'DEAD', 0}
  end
  redis.call('ZADD', KEYS[2], 0, member)
  redis.call('ZADD', KEYS[3], 'XX', 0, session_id)
  return {'DEAD', 0}
end
redis.call('ZREM', KEYS[3], session_id)
return {'DEAD', redis.call('ZREM', KEYS[2], member)}
