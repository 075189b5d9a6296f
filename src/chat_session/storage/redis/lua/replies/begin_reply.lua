-- begin_reply: a reply begins to grow, with no text, if the turn is not lost.
-- KEYS  meta | draft
-- ARGV  token | reply_id | author
--       author: as JSON, or empty
-- REPLY OK | GONE | LOST reason | GROWS | CORRUPT field
local meta, draft = KEYS[1], KEYS[2]
local token, reply_id, author = ARGV[1], ARGV[2], ARGV[3]
--#include clock
--#include whole
--#include reply_state
--#include turn
--#include reply
local loss = find_loss(token, epoch, held)
if loss then return {'LOST', loss} end
local id, state, detail = read_reply(reply)
if id == reply_id then -- a repeat
  if state == 'growing' then return {'OK'} end
  return {'LOST', state == 'aborted' and detail or 'expired'}
end
local is_same_epoch = detail == string.format('%d', epoch)
if state == 'growing' and is_same_epoch and call('EXISTS', draft) == 1 then return {'GROWS'} end
local _, deadline = read_turn(held)
call('SET', draft, '', 'PXAT', find_draft_deadline(deadline))
local begun = string.format('%s %d growing', reply_id, epoch)
call('HSET', meta, 'cs:draft', author == '' and begun or begun .. ' ' .. author)
--#include notify
return {'OK'}
