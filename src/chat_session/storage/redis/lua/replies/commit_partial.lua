-- commit_partial: append what was shown of a reply, whose turn may be lost, and end it.
-- KEYS  meta | agent | history | ids | draft
-- ARGV  now | default_ttl | max_history | reply_id | length | reason | elements...
--       length: of the text that was shown; elements: one
-- REPLY OK seq stored? | GONE | OVER | CONFLICT id | CORRUPT field
--       OVER: the reply has ended, or has another text
local meta, agent, history, ids, draft = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, default_ttl, max_history = ARGV[1], ARGV[2], tonumber(ARGV[3])
local reply_id, shown, reason, first = ARGV[4], tonumber(ARGV[5]), ARGV[6], 7
--#include clock
--#include slide
--#include session
--#include reply
--#include check
if fresh == 0 then -- a repeat is activity
  touch(find_deadline(ttl), found[1])
  return answer
end
local reply = call('HGET', meta, 'cs:draft')
if read_reply(reply) ~= reply_id or shown == 0 or call('STRLEN', draft) ~= shown then return {'OVER'} end
--#include push
call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count))
call('UNLINK', draft)
abandon(reply, string.format('%d', epoch), reason)
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return answer
