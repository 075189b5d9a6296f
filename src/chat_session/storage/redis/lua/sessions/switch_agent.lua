-- switch_agent: make an agent current and begin the next epoch, with a note in the same step.
-- A repeated call is known by its token and answers as the first time.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | new_agent | expect | token | answered_below | elements...
-- REPLY OK epoch noted in_desk in_turns | GONE | STALE epoch agent | CONFLICT id | CORRUPT field
--       in_desk: 1 if the desk has handled the session; in_turns: 1 if workers find its turns; or the error TRYLATER
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history = ARGV[1], ARGV[2], tonumber(ARGV[3])
local new_agent, expect, token, answered_below, first = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), 8
--#include clock
--#include slide
--#include session
--#include done
if repeated then
  touch(find_deadline(ttl), found[1])
  local begun, noted = string.match(repeated, '^(%d+) (%d+)$')
  return {'OK', tonumber(begun), tonumber(noted), call('HEXISTS', meta, 'cs:desk'), found[8] and 1 or 0}
end
if expect ~= '' and expect ~= current and tonumber(expect) ~= epoch then return {'STALE', epoch, current} end
if epoch == MAX_NUMBER then return {'CORRUPT', 'agentEpoch'} end
--#include check
if n > 0 then call('LLEN', history) end -- its type is checked by reading it
epoch = epoch + 1
done = add_answer(epoch, fresh)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end

local deadline = find_deadline(ttl)
set(agent, new_agent, deadline, 'GET') -- GET refuses a key of another type, before anything is written
--#include push
call('HSET', meta, 'currentAgent', new_agent, 'agentEpoch', string.format('%d', epoch), 'agentSwitchedAt', now,
  'lastActiveAt', now, 'messageCount', string.format('%d', count), 'cs:done', done)
--#include mark
expire(deadline, meta, history, ids)
--#include notify
return {'OK', epoch, fresh, call('HEXISTS', meta, 'cs:desk'), found[8] and 1 or 0}
