-- release_turn: end a turn, and a reply that grows in it; with read_to all up to there is answered. A repeated call is
-- known by what it left.
-- KEYS  meta | history | draft
-- ARGV  token | read_to | unless_newer
--       unless_newer: 1 to keep the turn if there is a customer message behind read_to
-- REPLY OK is_over is_pending | GONE | LOST reason | CORRUPT field
--       is_pending: 1 if a worker has to find the session, which has something unanswered
local meta, history, draft = KEYS[1], KEYS[2], KEYS[3]
local token, read_to, unless_newer = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
--#include clock
--#include whole
--#include turn_state
--#include turn
--#include reply
local holder, _, of, before = read_turn()
if holder == token and of == 'released' then
  return {'OK', 1, in_turns and customer > (answered or 0) and 1 or 0}
end
if before == token then return {'OK', 1, 0} end -- and another has taken it since
local loss = find_loss(token, epoch)
if loss then return {'LOST', loss} end
if read_to and read_to > (answered or -1) then
  answered = read_to
  call('HSET', meta, 'cs:answered', string.format('%d', read_to))
end
if unless_newer and customer > read_to then return {'OK', 0, 0} end
call('HSET', meta, 'cs:turn', token .. ' 0 released')
if abandon(reply, string.format('%d', epoch), 'released') then
--#include notify
end
return {'OK', 1, in_turns and customer > (answered or 0) and 1 or 0}
