-- append_in_turn: append as append_messages does, if the turn is not lost; a message that the customer can see answers
-- the round in the same step. The message of a streaming reply ends that in the same step.
-- KEYS  meta | agent | history | ids | draft
-- ARGV  now | default_ttl | max_history | token | read_to | reply_id | elements...
--       reply_id: of the reply that ends, or empty
-- REPLY OK (seq stored?)... | GONE | LOST reason | CONFLICT id | CORRUPT field
local meta, agent, history, ids, draft = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, default_ttl, max_history = ARGV[1], ARGV[2], tonumber(ARGV[3])
local token, read_to, reply_id, first = ARGV[4], tonumber(ARGV[5]), ARGV[6], 7
--#include clock
--#include slide
--#include session
--#include turn
--#include reply
--#include check
if fresh == 0 then -- a repeat is activity
  touch(find_deadline(ttl), found[1])
  return answer
end
local marks = call('HMGET', meta, 'cs:customer', 'cs:answered', 'cs:turn', 'cs:draft')
local loss = find_loss(token, epoch, marks[3] or '')
if loss then return {'LOST', loss} end
local last_reply, state, why = read_reply(marks[4])
if last_reply == reply_id and state == 'aborted' then return {'LOST', why} end
local said, before = whole(marks[1] or '0'), whole(marks[2] or '0')
if not said then return {'CORRUPT', 'cs:customer'} end
if not before then return {'CORRUPT', 'cs:answered'} end
local is_visible = false
for i = 1, n do
  local internal = string.sub(ARGV[first + 3 * i - 1], -17) == ',"internal":true}'
  is_visible = is_visible or answer[2 * i] == 0 and not internal
end
--#include push
call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count))
--#include mark
if is_visible then -- what was said after the round was read is not answered by it, but an operator may have done so
  local seq = math.max(before, answered or 0, (customer or said) > read_to and read_to or count)
  call('HSET', meta, 'cs:answered', string.format('%d', seq))
end
if reply_id ~= '' then
  call('UNLINK', draft)
  call('HSET', meta, 'cs:draft', string.format('%s committed %d', reply_id, count))
end
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return answer
