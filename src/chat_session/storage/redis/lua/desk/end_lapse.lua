-- end_lapse: the sessions of a lapsed presence have been put back.
-- KEYS  lapsed
-- ARGV  operator | generation
-- REPLY OK
local lapsed = KEYS[1]
local operator, generation = ARGV[1], tonumber(ARGV[2])
local known = redis.call('ZSCORE', lapsed, operator)
if known and tonumber(known) <= generation then redis.call('ZREM', lapsed, operator) end
return {'OK'}
