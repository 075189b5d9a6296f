-- renew_turn: the lease of a turn begins again, and with it that of a reply that grows in the turn.
-- KEYS  meta | history | draft
-- ARGV  token | lease_ms
-- REPLY OK epoch customer answered last_seq | GONE | LOST reason | CORRUPT field
local meta, history, draft = KEYS[1], KEYS[2], KEYS[3]
local token, lease_ms = ARGV[1], tonumber(ARGV[2])
--#include clock
--#include whole
--#include turn_state
--#include turn
--#include reply
local loss = find_loss(token, epoch)
if loss then return {'LOST', loss} end
local _, _, _, before = read_turn()
local deadline = read_clock() + lease_ms
write_turn(token, deadline, epoch, before)
local _, state = read_reply(reply)
if state == 'growing' then call('PEXPIREAT', draft, find_draft_deadline(deadline)) end
return {'OK', epoch, customer, answered or -1, last_seq}
