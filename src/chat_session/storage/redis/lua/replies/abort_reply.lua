-- abort_reply: end a reply without a message, if it grows. Its id says whose it is.
-- KEYS  meta | draft
-- ARGV  reply_id | reason
-- REPLY OK
local meta, draft = KEYS[1], KEYS[2]
local reply_id, reason = ARGV[1], ARGV[2]
local call = redis.call
--#include reply
local current_epoch, reply = (table.unpack or unpack)(call('HMGET', meta, 'agentEpoch', 'cs:draft'))
if read_reply(reply) ~= reply_id then return {'OK'} end
call('UNLINK', draft) -- also what stop_turn has left
if abandon(reply, current_epoch or '0', reason) then
--#include notify
end
return {'OK'}
