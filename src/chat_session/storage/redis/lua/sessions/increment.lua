-- increment: add to a whole number in the metadata. A repeated call is known by its token.
-- KEYS  meta
-- ARGV  name | by | max_entries | max_bytes | reserved | token | answered_below
-- REPLY OK number | GONE | NUMBER | FULL entries bytes
--       NUMBER: the entry or the sum is not a whole number within 2^53; or the error TRYLATER
local meta = KEYS[1]
local name, by, max_entries, max_bytes, reserved = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local token, answered_below = ARGV[6], tonumber(ARGV[7])
--#include clock
--#include merge
local owner, done, value = (table.unpack or unpack)(call('HMGET', meta, 'userId', 'cs:done', name))
if not owner then return {'GONE'} end
done = done or ''
--#include done
if repeated then
  call('HSET', meta, 'userId', owner) -- a write in any case, so that replicas can be waited for
  return {'OK', string.match(repeated, '^%S+')}
end
value = value or '0'
local number = #value <= 17 and string.find(value, '^%-?%d+$') and tonumber(value)
if not number or math.abs(number) > 9007199254740991 or math.abs(number + by) > 9007199254740991 then return {'NUMBER'} end
number = number + by
ARGV[8], ARGV[9], ARGV[10], ARGV[11] = '0', '1', name, string.format('%.0f', number)
local changes = read_changes(8)
local entries, bytes = measure(meta, changes, reserved)
if entries > max_entries or bytes > max_bytes then return {'FULL', entries, bytes} end
done = add_answer(number, 0)
if not done then return {err = 'TRYLATER 256 changes of this session may still be repeated'} end
call('HSET', meta, name, ARGV[11], 'cs:done', done)
--#include notify
return {'OK', ARGV[11]}
