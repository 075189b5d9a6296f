-- append_messages: add messages in order, all or none; trim, count, stamp, slide the deadline.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | epoch | elements...
-- REPLY OK (seq stored?)... | GONE | STALE epoch agent | CONFLICT id | CORRUPT field
--#include session
--#include slide
--#include push
local now, default_ttl, max_history, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local session, broken = read_session(default_ttl)
if broken then return {'CORRUPT', broken} end
if not session then return {'GONE'} end
local answer, fresh = check_messages(session, 5, max_history)
if not fresh then return answer end
if #fresh == 0 then -- a repeat is activity, and a write, so that its replicas can be waited for
  slide(session.ttl)
  return answer
end
if epoch ~= '' and tonumber(epoch) ~= session.epoch then
  return {'STALE', session.epoch, session.agent}
end

push_messages(session, answer, 5, fresh, max_history)
call('HSET', KEYS[1], 'lastActiveAt', now, 'messageCount', digits(session.count))
slide(session.ttl)
return answer
