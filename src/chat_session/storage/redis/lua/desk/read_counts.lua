-- read_counts: how many sessions wait in each team, how many are assigned, the longest wait, and all that was counted.
-- KEYS  queue | teams | seats | leases | counts
-- ARGV  step
--       step: how far apart two priorities are in the queue
-- REPLY OK (team waiting)... assigned longest (field count)... now_us
--       longest: microseconds
local queue, teams, seats, leases, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step = tonumber(ARGV[1])
local call = redis.call
--#include moment
local waiting, from = {}, '-'
while true do
  local team = string.match(call('ZRANGEBYLEX', teams, from, '+', 'LIMIT', 0, 1)[1] or '', '^([^\n]*)\n')
  if not team then break end
  waiting[#waiting + 1] = team
  waiting[#waiting + 1] = tostring(call('ZLEXCOUNT', teams, '[' .. team .. '\n', '(' .. team .. '\n\255'))
  from = '(' .. team .. '\n\255'
end
local longest = 0
for priority = 0, 9 do -- the first of each has waited longest
  local low, high = string.format('%.0f', priority * step), string.format('(%.0f', (priority + 1) * step)
  local first = call('ZRANGEBYSCORE', queue, low, high, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if first then longest = math.max(longest, now_us - (tonumber(first) - priority * step)) end
end
local assigned = call('ZCARD', seats) - call('ZCARD', leases)
return {'OK', waiting, assigned, string.format('%.0f', longest), call('HGETALL', counts), string.format('%.0f', now_us)}
