-- read_desk: the fields of a session and the time, on which a step of the desk is decided.
-- KEYS  meta
-- ARGV
-- REPLY OK fields now_us | GONE
local meta = KEYS[1]
local call = redis.call
--#include moment
local found = call('HGETALL', meta)
if call('HEXISTS', meta, 'userId') == 0 then return {'GONE'} end
return {'OK', found, string.format('%.0f', now_us)}
