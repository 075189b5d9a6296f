-- stop_turn: end whatever turn there is, and leave word for its worker. A reply that grows ends with it; what was shown
-- of it stays until the deadline of the lease.
-- KEYS  meta | history | draft
-- ARGV
-- REPLY OK was_held is_pending | GONE | CORRUPT field
--       is_pending: as in release_turn
local meta, history, draft = KEYS[1], KEYS[2], KEYS[3]
--#include clock
--#include whole
--#include turn_state
--#include turn
--#include reply
local holder, deadline, of = read_turn()
local is_pending = in_turns and customer > (answered or 0) and 1 or 0
if of == 'stopped' then return {'OK', 1, is_pending} end
if deadline <= read_clock() or of ~= string.format('%d', epoch) then return {'OK', 0, 0} end
call('HSET', meta, 'cs:turn', holder .. ' 0 stopped')
if abandon(reply, string.format('%d', epoch), 'stopped', true) then
--#include notify
end
return {'OK', 1, is_pending}
