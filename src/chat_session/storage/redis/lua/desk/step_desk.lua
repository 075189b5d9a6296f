-- step_desk: change what the desk stores of a session, if it is as it was read, with the agent, the ttl and messages.
-- A repeated call is known by its token. If the operator's own message, the last, is stored, nothing else is done.
-- KEYS  meta | agent | history | ids | deadlines...
-- ARGV  now | default_ttl | max_history | seen_facts | seen_epoch | seen_ttl | facts | new_agent | new_ttl
--       | token | answered_below | own | elements...
--       now: empty if this is no activity; seen_facts, seen_ttl: empty if there are none, seen_ttl * if any will do;
--       facts: what follows the stamp in their JSON; facts, new_agent, new_ttl: empty to keep what there is;
--       own: how many of the messages are the operator's, 0 or 1
-- REPLY OK stamp fields (seq stored?)... | GONE | CHANGED | CONFLICT id | CORRUPT field
--       stamp: 0 if nothing was done but what was done before; or the error TRYLATER
--       On a cluster the index of deadlines is on another node: it is not given.
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history, seen_facts = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local seen_epoch, seen_ttl, facts, new_agent, new_ttl = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local token, answered_below, own, first = ARGV[10], tonumber(ARGV[11]), ARGV[12] == '1', 13
--#include clock
--#include moment
--#include slide
--#include session
--#include done
--#include check
if repeated or (own and answer[2 * n] ~= 0) then
  touch(find_deadline(ttl), found[1])
  return {'OK', '0', call('HGETALL', meta), answer}
end
local stored = call('HGET', meta, 'cs:desk') or ''
local same_ttl = seen_ttl == '*' or seen_ttl == (found[2] or '')
if stored ~= seen_facts or epoch ~= seen_epoch or not same_ttl then return {'CHANGED'} end
if epoch == MAX_NUMBER then return {'CORRUPT', 'agentEpoch'} end
for i = 5, #KEYS do call('ZCARD', KEYS[i]) end -- a key of another type ends the script here
if n > 0 then call('LLEN', history) end
local stamp = math.max(now_us, tonumber(string.match(stored, '^{"stamp":(%d+)') or 0) + 1)
local member = (call('HGET', meta, 'sessionId') or '') .. '/' .. found[1]
done = add_answer(0, 0)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end

local fields = {'cs:done', done}
local function change(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
if now ~= '' then change('lastActiveAt', now) end
if facts ~= '' then change('cs:desk', string.format('{"stamp":%.0f', stamp) .. facts) end
if new_ttl ~= '' then
  ttl = tonumber(new_ttl)
  change('ttl', new_ttl)
end
local deadline = find_deadline(ttl)
if new_agent ~= '' then
  set(agent, new_agent, deadline, 'GET') -- GET refuses a key of another type, before anything is written
  change('currentAgent', new_agent)
  change('agentEpoch', string.format('%d', epoch + 1))
  change('agentSwitchedAt', now)
end
call('HSET', meta, (table.unpack or unpack)(fields))
--#include push
call('HSET', meta, 'messageCount', string.format('%d', count))
--#include mark
expire(deadline, meta, agent, history, ids)
for i = 5, new_ttl ~= '' and #KEYS or 0 do call('ZADD', KEYS[i], deadline, member) end
--#include notify
return {'OK', string.format('%.0f', stamp), call('HGETALL', meta), answer}
