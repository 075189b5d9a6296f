-- The presence of operators. `presence` has the moment in milliseconds at which each one lapses; `operators` has
-- "generation capacity available seen": the generation is the moment at which the presence began, the capacity is -1
-- for the default, and seen is the operator's last own sign in milliseconds.
-- READS call presence operators now_us now_ms
-- SETS  read_operator renew
local function read_operator(operator)
  local text = call('HGET', operators, operator) or ''
  local generation, capacity, available, seen = string.match(text, '^(%d+) (-?%d+) ([01]) (%d+)$')
  return tonumber(generation or 0), capacity or '-1', available or '1', seen or '0'
end

-- The generation of the operator's presence, which is as before unless a sweep has found it lapsed. By a sign of the
-- operator it is renewed; else it begins if there is none.
local function renew(operator, lease_ms, is_sign, new_capacity, new_available)
  local generation, capacity, available, seen = read_operator(operator)
  local present = generation > 0 and call('ZSCORE', presence, operator)
  if present and not is_sign then return generation end
  if not present then generation = math.max(generation + 1, now_us) end
  if not is_sign then
    available = '0'
  elseif new_available ~= '' then
    available = new_available
  elseif seen == '0' or not present then
    available = '1'
  end
  if new_capacity ~= '' then capacity = new_capacity end
  if is_sign then seen = string.format('%.0f', now_ms) end
  call('ZADD', presence, string.format('%.0f', now_ms + lease_ms), operator)
  call('HSET', operators, operator, string.format('%.0f %s %s %s', generation, capacity, available, seen))
  return generation
end
