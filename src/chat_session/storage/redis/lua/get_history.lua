-- get_history: the newest retained messages within a window of sequence numbers, oldest first.
-- KEYS  meta | history
-- ARGV  limit | before | after
-- REPLY OK first_seq elements | GONE | CORRUPT field
local limit, before, after = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local found = redis.call('HMGET', KEYS[1], 'userId', 'messageCount')
if not found[1] then return {'GONE'} end
local length = redis.call('LLEN', KEYS[2])
local count = tonumber(found[2] or 0)
if not count then return {'CORRUPT', 'messageCount'} end
if count < length then count = length end -- another program pushed, uncounted
local oldest = count - length + 1
local last = math.min(count, (before or count + 1) - 1)
local first = math.max(oldest, last - limit + 1, (after or 0) + 1)
if first > last then return {'OK', first, {}} end
return {'OK', first, redis.call('LRANGE', KEYS[2], first - oldest, last - oldest)}
