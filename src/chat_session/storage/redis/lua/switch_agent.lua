-- switch_agent: make an agent current and begin the next epoch, with a note in the same step.
-- The last switches' tokens are remembered, so that a repeated call answers as it did the first time.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | agent | expect | token | elements...
-- REPLY OK epoch noted | GONE | STALE epoch agent | CONFLICT id | CORRUPT field
--#include session
--#include slide
--#include push
local now, default_ttl, max_history = ARGV[1], ARGV[2], tonumber(ARGV[3])
local agent, expect, token = ARGV[4], ARGV[5], ARGV[6]

local session, broken = read_session(default_ttl)
if broken then return {'CORRUPT', broken} end
if not session then return {'GONE'} end
call('STRLEN', KEYS[2]) -- SET would overwrite a key of another type in silence
local tokens = call('HGET', KEYS[4], '\0calls') or ''
local done = string.match(tokens, token .. '=(%d+) ')
if done then
  slide(session.ttl)
  return {'OK', tonumber(done), 0}
end
if expect ~= '' and expect ~= session.agent and tonumber(expect) ~= session.epoch then
  return {'STALE', session.epoch, session.agent}
end
local answer, fresh = {}, {}
if ARGV[7] then
  answer, fresh = check_messages(session, 7, max_history)
  if not fresh then return answer end
end

local epoch = digits(session.epoch + 1)
push_messages(session, answer, 7, fresh, max_history)
call('SET', KEYS[2], agent)
call('HSET', KEYS[1], 'currentAgent', agent, 'agentEpoch', epoch, 'agentSwitchedAt', now,
  'lastActiveAt', now, 'messageCount', digits(session.count))
call('HSET', KEYS[4], '\0calls', string.sub(tokens .. token .. '=' .. epoch .. ' ', -400))
slide(session.ttl)
return {'OK', session.epoch + 1, #fresh}
