-- forget_entry: remove the desk's entry of a session that is open or gone, unless a later step has been here.
-- KEYS  queue | teams | entries | seats | claims | leases | idle
-- ARGV  session_id | stamp
-- REPLY OK
local queue, teams, entries, seats, claims, leases, idle = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local session_id, stamp = ARGV[1], tonumber(ARGV[2])
local call = redis.call
--#include place
local entry = read_entry(session_id)
if entry and entry.stamp <= stamp then
  take_away(session_id, entry)
  call('HDEL', entries, session_id)
end
--#include notify
return {'OK'}
