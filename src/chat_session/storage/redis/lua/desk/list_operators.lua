-- list_operators: those who are present, with how many sessions they have.
-- KEYS  seats | presence | operators
-- ARGV
-- REPLY OK (operator deadline assigned record)...
local seats, presence, operators = KEYS[1], KEYS[2], KEYS[3]
local call = redis.call
local found, listed = call('ZRANGE', presence, 0, -1, 'WITHSCORES'), {}
for i = 1, #found, 2 do
  listed[#listed + 1] = found[i]
  listed[#listed + 1] = found[i + 1]
  listed[#listed + 1] = tostring(call('ZLEXCOUNT', seats, '[' .. found[i] .. '\n', '(' .. found[i] .. '\n\255'))
  listed[#listed + 1] = call('HGET', operators, found[i]) or '0 -1 1 0'
end
return {'OK', listed}
