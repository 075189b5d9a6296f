-- note_work: a session has work for a worker from now on. One that waits already keeps its place among those that wait.
-- Its score changes in any case, so that a look at the session from before is known to be old: by 1024ths below a half.
-- A score with a half or more behind the point is that of a session that had no work.
-- KEYS  index
-- ARGV  member
-- REPLY OK
local index = KEYS[1]
local member = ARGV[1]
--#include clock
local now, score = read_clock(), tonumber(call('ZSCORE', index, member) or 0) or 0
local fraction = score % 1
if score < 1 or score > now or fraction >= 0.5 then
  score = now - 1 -- due at once also with a fraction
else
  score = score - fraction + (fraction + 1 / 1024) % 0.5
end
call('ZADD', index, string.format('%.17g', score), member)
return {'OK'}
