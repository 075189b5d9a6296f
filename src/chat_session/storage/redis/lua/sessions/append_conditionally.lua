-- append_conditionally: compare what the caller read, then append as append_messages does, and merge metadata and the
-- states of users and applications in the same step. There may be no messages.
-- A repeated call is known by the ids of its messages, or by its token.
-- KEYS  meta | agent | history | ids | states...
-- ARGV  now | default_ttl | max_history | epoch | expect_seq | expect_revision | max_entries | max_bytes | reserved
--       | token | answered_below | noted | expected... | changes... | elements...
--       expected: as in include/expect; changes: as in include/merge, of the metadata and then of each state
-- REPLY OK (seq stored?)... | GONE | STALE epoch agent | SEQUENCE last_seq revision | DIFFERS name | UNNOTED
--       | FULL entries bytes state | CONFLICT id | CORRUPT field
--       state: its number, 0 for the metadata; or the error TRYLATER
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history, expect = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local expect_seq, expect_revision = tonumber(ARGV[5]), tonumber(ARGV[6])
local max_entries, max_bytes, reserved = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local token, answered_below, noted = ARGV[10], tonumber(ARGV[11]), ARGV[12]
--#include clock
--#include slide
--#include session
--#include done
--#include expect
--#include merge
local different, first = find_difference(13)
local changes = {}
for i = 4, #KEYS do changes[i], first = read_changes(first) end -- those of the metadata are at 4
--#include check
if repeated or (n > 0 and fresh == 0) then
  touch(find_deadline(ttl), found[1])
  for i = 1, n do
    if answer[2 * i] == 0 then -- stored by this call, and trimmed since
      answer[2 * i], answer[2 * i + 1] = string.match(repeated, '^%d+') - (n - i), ARGV[first + 3 * i - 1]
    end
  end
  return answer
end
if expect ~= '' and tonumber(expect) ~= epoch then return {'STALE', epoch, current} end
count = math.max(count, call('LLEN', history))
local revision = whole(call('HGET', meta, 'cs:revision') or '0') or -1
if (expect_seq or count) ~= count or (expect_revision or revision) ~= revision then
  return {'SEQUENCE', count, revision}
end
if different then return {'DIFFERS', different} end
for i = 4, #KEYS do
  local entries, bytes = measure(i == 4 and meta or KEYS[i], changes[i], i == 4 and reserved or '')
  if entries > max_entries or bytes > max_bytes then return {'FULL', entries, bytes, i - 4} end
end
if found[8] and noted == '' then
--#include refuse_unnoted
end
done = add_answer(count + fresh, 0)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end

call('HSET', meta, 'lastActiveAt', now, 'cs:done', done)
--#include push
call('HSET', meta, 'messageCount', string.format('%d', count))
--#include mark
merge(meta, changes[4])
for i = 5, #KEYS do merge(KEYS[i], changes[i]) end
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return answer
