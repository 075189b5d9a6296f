-- get_history: retained messages within a window of sequence numbers, oldest first.
-- With `after` alone those that follow it, else the newest of the window.
-- KEYS  meta | history
-- ARGV  limit | before | after
-- REPLY OK first_seq elements | GONE | CORRUPT field
local meta, history = KEYS[1], KEYS[2]
local limit, before, after = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local found = redis.call('HMGET', meta, 'userId', 'messageCount')
if not found[1] then return {'GONE'} end
local length = redis.call('LLEN', history)
local counted = found[2] or '0'
local count = #counted <= 16 and string.find(counted, '^%d+$') and tonumber(counted)
if not count or count > 9007199254740991 then return {'CORRUPT', 'messageCount'} end
if count < length then count = length end -- another program pushed, uncounted
local oldest = count - length + 1
local last = math.min(count, (before or count + 1) - 1)
local first = math.max(oldest, (after or 0) + 1)
if before or not after then first = math.max(first, last - limit + 1) end
last = math.min(last, first + limit - 1)
if first > last then return {'OK', first, {}} end
return {'OK', first, redis.call('LRANGE', history, first - oldest, last - oldest)}
