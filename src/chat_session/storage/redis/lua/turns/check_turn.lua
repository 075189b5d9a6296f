-- check_turn: whether a session waits for a worker.
-- KEYS  meta | history
-- ARGV
-- REPLY OK state left_ms | GONE | CORRUPT field
--       state: pending, busy, human or idle; left_ms: of the turn, if it is busy
local meta, history = KEYS[1], KEYS[2]
--#include clock
--#include whole
--#include turn_state
--#include turn
local _, deadline, of = read_turn()
if current ~= 'ai' then return {'OK', 'human', 0} end
if deadline > read_clock() and of == string.format('%d', epoch) then return {'OK', 'busy', deadline - read_clock()} end
return {'OK', customer > (answered or 0) and 'pending' or 'idle', 0}
