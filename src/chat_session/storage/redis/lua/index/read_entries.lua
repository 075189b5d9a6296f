-- read_entries: how many index entries of a bucket are ahead, and which are due.
-- An entry at 0 is known to be dead and waits for a sweep.
-- KEYS  due
-- ARGV  lowest | skip | limit
-- REPLY OK ahead (member score)... now
local due = KEYS[1]
local lowest, skip, limit = ARGV[1], ARGV[2], ARGV[3]
--#include clock
local now = string.format('%.0f', read_clock())
local ahead = call('ZCOUNT', due, '(' .. now, '+inf')
local found = call('ZRANGEBYSCORE', due, lowest, now, 'WITHSCORES', 'LIMIT', skip, limit)
return {'OK', ahead, found, now}
