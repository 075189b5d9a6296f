-- plan_check: a session of the desk must be checked some time from now, whatever was planned before.
-- KEYS  index
-- ARGV  member | after_ms
-- REPLY OK
local index = KEYS[1]
local member, after_ms = ARGV[1], tonumber(ARGV[2])
local call = redis.call
--#include moment
call('ZADD', index, string.format('%.0f', now_ms + after_ms), member)
return {'OK'}
