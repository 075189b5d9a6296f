-- forget_operators: remove what is known of operators who have not been here since a moment, in milliseconds.
-- KEYS  seats | presence | operators
-- ARGV  oldest
-- REPLY OK
local seats, presence, operators = KEYS[1], KEYS[2], KEYS[3]
local oldest = tonumber(ARGV[1])
local call = redis.call
local found = call('HGETALL', operators)
for i = 1, #found, 2 do
  local operator, seen = found[i], tonumber(string.match(found[i + 1], ' (%d+)$') or 0)
  local gone = seen < oldest and not call('ZSCORE', presence, operator)
  if gone and call('ZLEXCOUNT', seats, '[' .. operator .. '\n', '(' .. operator .. '\n\255') == 0 then
    call('HDEL', operators, operator)
  end
end
--#include notify
return {'OK'}
