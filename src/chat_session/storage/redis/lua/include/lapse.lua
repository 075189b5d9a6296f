-- The presence of an operator is over. The sessions of its generation are returned by a sweep; one lapse is counted.
-- READS call seats presence lapsed counts now_us read_operator
-- SETS  mark_lapse
local function mark_lapse(operator)
  if call('ZLEXCOUNT', seats, '[' .. operator .. '\n', '(' .. operator .. '\n\255') > 0 then
    call('ZADD', lapsed, string.format('%.0f', read_operator(operator)), operator)
    call('HINCRBY', counts, string.format('%.0f:lapses', math.floor(now_us / 300000000)), 1)
  end
  call('ZREM', presence, operator)
end
