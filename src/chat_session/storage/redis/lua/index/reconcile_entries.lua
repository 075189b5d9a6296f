-- reconcile_entries: look whether a session lives, and correct its index entries.
-- A living one is due at its deadline. A dead one is reaped, or marked as known to be dead.
-- KEYS  meta | entries...
-- ARGV  user_id | dead | entries...
--       entries: for each its member and its order; the first is the one that counts the dead
-- REPLY ALIVE | DEAD reaped
local meta = KEYS[1]
local user_id, dead = ARGV[1], ARGV[2]
--#include clock
--#include enter
local now = read_clock()
local owner = call('HGET', meta, 'userId')
local scores = {}
for i = 2, #KEYS do scores[i] = call('ZSCORE', KEYS[i], ARGV[2 * i - 1]) end
if owner == user_id then
  local left = call('PTTL', meta)
  local deadline = '+inf'
  if left >= 0 then -- a millisecond early: an entry must never be later than the deadline of its session
    deadline = string.format('%.0f', now + left - 1)
  end
  for i = 2, #KEYS do
    local member, order = ARGV[2 * i - 1], ARGV[2 * i]
    if order == 'deadline' then
      call('ZREM', KEYS[i], member) -- first: with it a server that is full lets the rest pass
      call('ZADD', KEYS[i], deadline, member)
    elseif not scores[i] then
      call('ZADD', KEYS[i], find_place(KEYS[i], string.format('%.0f', now)), member)
    end
  end
  return {'ALIVE'}
end
for i = 2, #KEYS do call('ZREM', KEYS[i], ARGV[2 * i - 1]) end
if dead == 'reap' or not scores[2] then return {'DEAD', scores[2] and 1 or 0} end
call('ZADD', KEYS[2], 0, ARGV[3])
return {'DEAD', 0}
