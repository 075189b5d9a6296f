-- begin_entry: say that a session is about to change: its index entry is due from now on.
-- KEYS  due
-- ARGV  member
-- REPLY OK score
local due = KEYS[1]
local member = ARGV[1]
--#include clock
--#include score
--#include writers
--#include verdict
local now = read_clock()
local others = count_writers(read_score(call('ZSCORE', due, member) or 0), now)
local part = others == 0 and 1 or 1024 + math.min(others + 1, 1023)
local score = string.format('%.11f', now - 1 + part / 2048) -- due at once, also within this millisecond
apply(due, member, score)
return {'OK', score}
