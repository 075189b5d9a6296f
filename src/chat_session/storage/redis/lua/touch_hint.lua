-- touch_hint: say that a session is about to change: its hint is due from now on.
-- Each touch gives another score, ending in a fraction, by which whoever touched it knows it again.
-- KEYS  hints
-- ARGV  member
-- REPLY OK score
local member = ARGV[1]

local time = redis.call('TIME')
local score = time[1] * 1000 + math.floor(time[2] / 1000) + 0.5
local before = redis.call('ZSCORE', KEYS[1], member)
if before and tonumber(before) >= score and tonumber(before) < score + 1 then score = tonumber(before) + 0.0078125 end
local written = string.format('%.7f', score)
redis.call('ZADD', KEYS[1], written, member)
return {'OK', written}
