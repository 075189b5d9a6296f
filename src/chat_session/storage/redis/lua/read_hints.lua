-- read_hints: how many hints of a bucket are ahead, and which are due.
-- A hint at 0 is known to be dead and waits for a sweep.
-- KEYS  due
-- ARGV  lowest | skip | limit
-- REPLY OK ahead (member score)... now
local lowest, skip, limit = ARGV[1], ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ahead = redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], lowest, now, 'WITHSCORES', 'LIMIT', skip, limit)
return {'OK', ahead, due, now}
