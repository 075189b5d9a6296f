-- renew_presence: an operator is present, by an own sign or because a session is given to the operator.
-- A session that is given to an operator whose presence is over begins another one: the sessions of that presence lapse.
-- KEYS  presence | operators | seats | lapsed | counts
-- ARGV  operator | lease_ms | is_sign | capacity | available
--       capacity, available: empty to keep what they are
-- REPLY OK generation capacity available seen deadline assigned
local presence, operators, seats, lapsed, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operator, lease_ms, is_sign, capacity, available = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4], ARGV[5]
local call = redis.call
--#include moment
--#include presence
--#include lapse
call('ZCARD', lapsed) -- each key is read before the first write: one of another type ends the script here
call('HLEN', counts)
local assigned = call('ZLEXCOUNT', seats, '[' .. operator .. '\n', '(' .. operator .. '\n\255')
local before = call('HGET', operators, operator) or ''
local ends = call('ZSCORE', presence, operator)
if not is_sign and ends and tonumber(ends) <= now_ms then mark_lapse(operator) end
local generation = renew(operator, lease_ms, is_sign, capacity, available)
local _, most, is_available, seen = read_operator(operator)
if string.match(before, '^%d+ %S+ %S+') ~= string.format('%.0f %s %s', generation, most, is_available) then
--#include notify
end -- that an operator is still here is not told
return {'OK', string.format('%.0f', generation), most, is_available, seen, call('ZSCORE', presence, operator), assigned}
