-- finish_entry: a writer that began has changed the session, or has not: the entry becomes what it says.
-- If several writers were at work at once, none of them can know it. The last to finish must ask the session.
-- KEYS  due
-- ARGV  member | begun | verdict
--       verdict: as in change_entry; empty if the writer does not know it
-- REPLY OK score
--       score: of the entry that is to be changed by what the session says; false if all is done
local due = KEYS[1]
local member, begun, verdict = ARGV[1], ARGV[2], ARGV[3]
--#include clock
--#include score
--#include writers
--#include verdict
local score = call('ZSCORE', due, member)
if not score then -- it was removed since: due again, until the session is asked
  apply(due, member, begun)
  return {'OK', begun}
end
local alone = read_score(score) == tonumber(begun) and tonumber(begun) % 1 < 0.5
if alone and verdict ~= '' then
  apply(due, member, verdict)
  return {'OK', false}
end
if count_writers(read_score(score), read_clock()) > 1 then
  apply(due, member, string.format('%.11f', read_score(score) - 1 / 2048))
  return {'OK', false}
end
return {'OK', score}
