-- begin_entry: say that a session is about to change: its index entry is due from now on.
-- Each time it gets another score, ending in a fraction, by which the writer who began knows it again.
-- KEYS  due
-- ARGV  member
-- REPLY OK score before
--       before: the score until now, false if there was no entry
local member = ARGV[1]
--#include clock
local score = read_clock() - 0.5 -- due at once, also within this millisecond
local before = call('ZSCORE', KEYS[1], member)
local known = before and tonumber(before) or 0
if known >= score and known < score + 0.5 then score = known + 0.0009765625 end
local written = string.format('%.7f', score)
call('ZADD', KEYS[1], written, member)
return {'OK', written, before}
