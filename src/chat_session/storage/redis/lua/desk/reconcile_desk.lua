-- reconcile_desk: make the desk's entry of a session what a step has made of it, unless a later step has been here.
-- KEYS  queue | teams | entries | seats | claims | leases | presence | operators | lapsed | idle | counts
-- ARGV  session_id | stamp | state | place | team | operator | generation | facts | idle_at | counted...
--       idle_at: when the operator has been silent for too long, in milliseconds; empty for never
-- REPLY OK rank present
--       rank: in the queue of its team from 1, 0 if it is not there; present: 0 if the operator's presence has lapsed
local queue, teams, entries, seats, claims, leases, presence, operators, lapsed, idle, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local session_id, stamp, state, place, team = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local operator, generation, facts, idle_at = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local call = redis.call
--#include moment
--#include place
--#include presence
local before = read_entry(session_id)
local newer = not before or stamp > before.stamp
if newer or (stamp == before.stamp and state ~= before.state) then -- the same stamp: switched without the desk
  if before then take_away(session_id, before) end
  local text = string.format('%.0f %s %s\n%s\n%s\n', stamp, state, place, team, operator)
  call('HSET', entries, session_id, text .. facts)
  put(session_id, {state = state, place = place, team = team, operator = operator})
  for i = 10, newer and #ARGV or 0 do call('HINCRBY', counts, ARGV[i], 1) end
elseif stamp == before.stamp and not call('ZSCORE', leases, session_id) then -- a key may have been lost
  end_lease(session_id)
  put(session_id, before)
end
if state == 'assigned' and idle_at ~= '' and stamp >= (before and before.stamp or 0) then
  call('ZADD', idle, 'NX', idle_at, session_id)
end
local rank, present = 0, 1
if state == 'waiting' and call('ZSCORE', queue, session_id) then
  rank = call('ZLEXCOUNT', teams, '[' .. team .. '\n', '[' .. team .. '\n' .. place .. '\n' .. session_id)
elseif state == 'assigned' and operator ~= '' then
  if generation ~= read_operator(operator) or not call('ZSCORE', presence, operator) then
    present = 0
    local known = tonumber(call('ZSCORE', lapsed, operator) or 0)
    call('ZADD', lapsed, string.format('%.0f', math.max(generation, known)), operator)
  end
end
--#include notify
return {'OK', rank, present}
