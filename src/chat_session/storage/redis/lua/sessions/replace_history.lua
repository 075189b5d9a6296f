-- replace_history: remove all messages and forget their ids, then push others, or none. A repeated call is known by its
-- token.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | epoch | expect_seq | expect_revision | token | answered_below | tag | elements...
-- REPLY OK removed last_seq kept | GONE | STALE epoch agent | SEQUENCE last_seq revision | CORRUPT field
--       removed: without those that were retracted before; or the error TRYLATER
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history, expect = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local expect_seq, expect_revision = tonumber(ARGV[5]), tonumber(ARGV[6])
local token, answered_below, tag, first = ARGV[7], tonumber(ARGV[8]), ARGV[9], 10
--#include clock
--#include slide
--#include session
--#include done
local n = math.floor((#ARGV - first + 1) / 3)
local kept = math.min(n, bound or max_history)
if repeated then
  touch(find_deadline(ttl), found[1])
  local removed, last = string.match(repeated, '^(%d+) (%d+)$')
  return {'OK', tonumber(removed), tonumber(last), kept}
end
if expect ~= '' and tonumber(expect) ~= epoch then return {'STALE', epoch, current} end
--#include edit
local length = call('LLEN', history)
count = math.max(count, length) -- another program may have pushed, uncounted
if (expect_seq or count) ~= count or (expect_revision or revision) ~= revision then
  return {'SEQUENCE', count, revision}
end
local removed = length
if revision > 0 then -- some may be retracted: only then they are read
  for _, element in ipairs(call('LRANGE', history, 0, -1)) do
    if string.sub(element, -20) == ',"type":"retracted"}' then removed = removed - 1 end
  end
end
if count + n > MAX_NUMBER then return {'CORRUPT', 'messageCount'} end
done = add_answer(removed, count + n)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end
local next_revision, next_edits = add_edit('*', tag)

if n > 0 then call('HSET', meta, 'lastActiveAt', now) end -- a server that is full refuses this
call('UNLINK', history, ids)
for i = 1, n - kept do
  local trimmed_seq, trimmed_element = count + i, ARGV[first + i * 3 - 1]
--#include trim
end
for i = n - kept + 1, n do
  local at = first + (i - 1) * 3
  call('RPUSH', history, ARGV[at + 2])
  call('HSET', ids, ARGV[at], string.format('%d:%s', count + i, ARGV[at + 1]))
end
call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count + n), 'cs:revision', next_revision,
  'cs:edits', next_edits, 'cs:done', done)
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return {'OK', removed, count + n, kept}
