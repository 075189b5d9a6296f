-- replace_elements: put others in the places of stored messages, if those are as they were read. So messages are
-- retracted and replaced. A repeated call is known by its token.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | epoch | newest | token | answered_below | tag | changes...
--       newest: the last sequence number as it was read, empty if others may follow
--       changes: sequence number, SHA-1 of what was read there, new element, …; the oldest first
-- REPLY OK | GONE | STALE epoch agent | CHANGED | CORRUPT field
--       or the error TRYLATER
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, expect, newest = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local token, answered_below, tag, first = ARGV[5], tonumber(ARGV[6]), ARGV[7], 8
--#include clock
--#include slide
--#include session
--#include done
if repeated then
  touch(find_deadline(ttl), found[1])
  return {'OK'}
end
if expect ~= '' and tonumber(expect) ~= epoch then return {'STALE', epoch, current} end
--#include edit
count = math.max(count, call('LLEN', history)) -- another program may have pushed, uncounted
if newest ~= '' and tonumber(newest) ~= count then return {'CHANGED'} end
for at = first, #ARGV, 3 do
  local stored = call('LINDEX', history, string.format('%.0f', ARGV[at] - count - 1))
  if not stored or redis.sha1hex(stored) ~= ARGV[at + 1] then return {'CHANGED'} end
end
done = add_answer(0, 0)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end
local next_revision, next_edits = add_edit(ARGV[first] .. '-' .. ARGV[#ARGV - 2], tag)

for at = first, #ARGV, 3 do call('LSET', history, string.format('%.0f', ARGV[at] - count - 1), ARGV[at + 2]) end
call('HSET', meta, 'lastActiveAt', now, 'cs:revision', next_revision, 'cs:edits', next_edits, 'cs:done', done)
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return {'OK'}
