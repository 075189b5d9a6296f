-- switch_agent: make an agent current and begin the next epoch, with a note in the same step.
-- The tokens of the calls that began the last epochs are remembered, the newest at the right, so that a
-- repeated call answers as it did the first time.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | agent | expect | token | elements...
-- REPLY OK epoch noted | GONE | STALE epoch agent | CONFLICT id | CORRUPT field
local now, default_ttl, max_history = ARGV[1], ARGV[2], tonumber(ARGV[3])
local agent, expect, token, first = ARGV[4], ARGV[5], ARGV[6], 7
--#include slide
--#include session
local place = string.find(tokens, token, 1, true)
if place then
  touch(find_deadline(ttl), found[1])
  return {'OK', epoch - (#tokens + 1 - place) / #token + 1, 0}
end
if expect ~= '' and expect ~= current and tonumber(expect) ~= epoch then return {'STALE', epoch, current} end
--#include check
if n > 0 then call('LLEN', KEYS[3]) end -- its type is checked by reading it

local deadline = find_deadline(ttl)
set(KEYS[2], agent, deadline, 'GET') -- GET refuses a key of another type, before anything is written
--#include push
epoch = epoch + 1
call('HSET', KEYS[1], 'currentAgent', agent, 'agentEpoch', string.format('%d', epoch), 'agentSwitchedAt', now,
  'lastActiveAt', now, 'messageCount', string.format('%d', count),
  'epochTokens', string.sub(tokens .. token, -20 * #token))
expire(deadline, KEYS[1], KEYS[3], KEYS[4])
return {'OK', epoch, fresh}
