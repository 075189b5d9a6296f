-- mark_lapsed: mark the presences that have lapsed, and count those that had sessions; put back what crashed claims
-- have left. Then say what a sweep has to look after.
-- KEYS  queue | teams | entries | seats | claims | leases | presence | operators | lapsed | idle | counts
-- ARGV  limit
-- REPLY OK (operator generation)... idle...
local queue, teams, entries, seats, claims, leases, presence, operators, lapsed, idle, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local limit = ARGV[1]
local call = redis.call
--#include moment
--#include place
--#include presence
--#include overdue
--#include lapse
for _, operator in ipairs(call('ZRANGEBYSCORE', presence, '-inf', now_ms, 'LIMIT', 0, limit)) do
  mark_lapse(operator)
end
end_overdue_leases(limit)
--#include notify
return {'OK', call('ZRANGE', lapsed, 0, limit - 1, 'WITHSCORES'),
  call('ZRANGEBYSCORE', idle, '-inf', now_ms, 'LIMIT', 0, limit)}
