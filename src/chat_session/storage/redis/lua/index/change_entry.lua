-- change_entry: score an index entry or remove it, if it is still as it was seen.
-- KEYS  index
-- ARGV  member | seen | verdict
--       verdict: reap, mark_dead, discard, or the score it shall have
-- REPLY OK changed
--       1, or 0 if somebody has changed it since
local index = KEYS[1]
local member, seen, verdict = ARGV[1], ARGV[2], ARGV[3]
--#include verdict
local score = redis.call('ZSCORE', index, member)
local same = score and (score == seen or tonumber(score) and tonumber(score) == tonumber(seen))
if not same and not (score == '0' and verdict == 'reap') then return {'OK', 0} end -- marked since: as dead as before
apply(index, member, verdict)
return {'OK', 1}
