-- reconcile_entry: look whether a session lives, and correct both its index entries.
-- A living one is due at its deadline. A dead one is reaped, or marked as known to be dead.
-- KEYS  meta | due | user
-- ARGV  member | session_id | user_id | dead
-- REPLY ALIVE | DEAD reaped
local meta, due, user = KEYS[1], KEYS[2], KEYS[3]
local member, session_id, user_id, dead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
--#include clock
--#include enter
local now = read_clock()
local owner = call('HGET', meta, 'userId')
call('ZCARD', due)
local entered = call('ZSCORE', user, session_id)
if owner == user_id then
  local left = call('PTTL', meta)
  local deadline = '+inf'
  if left >= 0 then -- a millisecond early: an entry must never be later than the deadline of its session
    deadline = string.format('%.0f', now + left - 1)
  end
  call('ZREM', due, member) -- first: with it a server that is full lets the rest pass
  call('ZADD', due, deadline, member)
  if not entered then call('ZADD', user, find_place(user, string.format('%.0f', now)), session_id) end
  return {'ALIVE'}
end
local reaped = call('ZREM', due, member)
call('ZREM', user, session_id)
if dead == 'reap' or reaped == 0 then return {'DEAD', reaped} end
call('ZADD', due, 0, member)
return {'DEAD', 0}
