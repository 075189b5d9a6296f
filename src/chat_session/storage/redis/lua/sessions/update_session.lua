-- update_session: merge metadata; neither the deadline nor the last activity moves.
-- A repeated call that compares entries is known by its token; without a token it may be done again.
-- KEYS  meta
-- ARGV  max_entries | max_bytes | reserved | token | answered_below | expected... | changes...
--       expected: as in include/expect; changes: as in include/merge
-- REPLY OK fields | GONE | DIFFERS name | FULL entries bytes
--       The size of metadata is that of the names and of the values as they are stored; or the error TRYLATER
local meta = KEYS[1]
local max_entries, max_bytes, reserved = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local token, answered_below = ARGV[4], tonumber(ARGV[5])
--#include clock
--#include expect
--#include merge
local owner = call('HGET', meta, 'userId')
if not owner then return {'GONE'} end
local done = token ~= '' and call('HGET', meta, 'cs:done') or ''
--#include done
if repeated then
  call('HSET', meta, 'userId', owner)
  return {'OK', call('HGETALL', meta)}
end
local different, at = find_difference(6)
if different then return {'DIFFERS', different} end
local changes = read_changes(at)
local entries, bytes = measure(meta, changes, reserved)
if entries > max_entries or bytes > max_bytes then return {'FULL', entries, bytes} end
done = token ~= '' and add_answer(0, 0)
if done == nil then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end

merge(meta, changes)
if done then call('HSET', meta, 'cs:done', done) end
call('HSET', meta, 'userId', owner) -- a write in any case, so that replicas can be waited for
--#include notify
return {'OK', call('HGETALL', meta)}
