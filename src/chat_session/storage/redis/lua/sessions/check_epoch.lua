-- check_epoch: whether the agent was switched since.
-- KEYS  meta
-- ARGV  epoch
-- REPLY OK | GONE | STALE epoch agent | CORRUPT field
local meta = KEYS[1]
local epoch = tonumber(ARGV[1])
local found = redis.call('HMGET', meta, 'userId', 'agentEpoch', 'currentAgent')
if not found[1] then return {'GONE'} end
local digits = found[2] or '0'
local current = #digits <= 16 and string.find(digits, '^%d+$') and tonumber(digits)
if not current then return {'CORRUPT', 'agentEpoch'} end
if current ~= epoch then return {'STALE', current, found[3] or 'ai'} end
return {'OK'}
