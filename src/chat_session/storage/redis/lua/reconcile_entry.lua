-- reconcile_entry: look whether a session lives, and put both its index entries right.
-- A living one is due at its deadline. A dead one is reaped, or marked as known to be dead.
-- KEYS  meta | due | user
-- ARGV  member | session_id | user_id | dead
-- REPLY ALIVE | DEAD reaped
local member, session_id, user_id, dead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
--#include clock
--#include enter
local now = read_clock()
local owner = call('HGET', KEYS[1], 'userId')
call('ZCARD', KEYS[2])
local entered = call('ZSCORE', KEYS[3], session_id)
if owner == user_id then
  local left = call('PTTL', KEYS[1])
  local deadline = '+inf'
  if left >= 0 then -- a millisecond early: an entry must never be later than what it stands for
    deadline = string.format('%.0f', now + left - 1)
  end
  call('ZREM', KEYS[2], member) -- first: with it a server that is full lets the rest pass
  call('ZADD', KEYS[2], deadline, member)
  if not entered then call('ZADD', KEYS[3], find_place(KEYS[3], string.format('%.0f', now)), session_id) end
  return {'ALIVE'}
end
local reaped = call('ZREM', KEYS[2], member)
call('ZREM', KEYS[3], session_id)
if dead == 'reap' or reaped == 0 then return {'DEAD', reaped} end
call('ZADD', KEYS[2], 0, member)
return {'DEAD', 0}
