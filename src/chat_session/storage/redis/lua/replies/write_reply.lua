-- write_reply: put text at an offset of a reply that grows. What is there already is not written again, and nothing is
-- written behind a hole.
-- KEYS  meta | draft
-- ARGV  token | reply_id | offset | text
-- REPLY OK length | GONE | LOST reason | CORRUPT field
local meta, draft = KEYS[1], KEYS[2]
local token, reply_id, offset, text = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
--#include clock
--#include whole
--#include reply_state
--#include turn
--#include reply
local loss = find_loss(token, epoch, held)
if loss then return {'LOST', loss} end
local id, state, detail = read_reply(reply)
if id ~= reply_id or state ~= 'growing' then
  return {'LOST', id == reply_id and state == 'aborted' and detail or 'expired'}
end
local length = call('STRLEN', draft)
if length == 0 and call('EXISTS', draft) == 0 then return {'LOST', 'expired'} end -- never without its deadline
local known = length - offset
if known < 0 or known >= #text then return {'OK', length} end
length = call('APPEND', draft, string.sub(text, known + 1))
--#include notify
return {'OK', length}
