-- take_turn: make a worker the only one that answers the session, until its lease ends. A reply of the worker before
-- does not grow any more.
-- KEYS  meta | history | draft
-- ARGV  token | lease_ms
-- REPLY OK epoch customer answered last_seq | GONE | STALE epoch agent | BUSY left_ms | CORRUPT field
--       answered: -1 if nothing ever was
local meta, history, draft = KEYS[1], KEYS[2], KEYS[3]
local token, lease_ms = ARGV[1], tonumber(ARGV[2])
--#include clock
--#include whole
--#include turn_state
--#include turn
--#include reply
if current ~= 'ai' then return {'STALE', epoch, current} end
local holder, deadline, of, before = read_turn()
local is_held = deadline > read_clock() and of == string.format('%d', epoch)
if is_held and holder ~= token then return {'BUSY', deadline - read_clock()} end
if holder ~= token then before = of == 'released' and holder or '' end
local has_ended = holder ~= token and abandon(reply, string.format('%d', epoch), 'expired')
write_turn(token, read_clock() + lease_ms, epoch, before)
if has_ended then
--#include notify
end
return {'OK', epoch, customer, answered or -1, last_seq}
