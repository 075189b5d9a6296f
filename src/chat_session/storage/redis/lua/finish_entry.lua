-- finish_entry: a writer who began has changed the session, or has not: the entry becomes what he says.
-- If several were at work at once, none of them can know it. The last to finish is told to ask the session.
-- KEYS  due
-- ARGV  member | begun | verdict
--       verdict: as in change_entry; empty if the writer does not know it
-- REPLY OK score
--       score: of the entry that is to be changed by what the session says; false if all is done
local member, begun, verdict = ARGV[1], ARGV[2], ARGV[3]
--#include clock
--#include score
--#include writers
--#include verdict
local score = call('ZSCORE', KEYS[1], member)
if not score then -- it was removed since: due again, until the session is asked
  apply(KEYS[1], member, begun)
  return {'OK', begun}
end
local alone = read_score(score) == tonumber(begun) and tonumber(begun) % 1 < 0.5
if alone and verdict ~= '' then
  apply(KEYS[1], member, verdict)
  return {'OK', false}
end
if count_writers(read_score(score), read_clock()) > 1 then
  apply(KEYS[1], member, string.format('%.11f', read_score(score) - 1 / 2048))
  return {'OK', false}
end
return {'OK', score}
