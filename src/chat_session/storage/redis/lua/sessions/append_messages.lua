-- append_messages: add messages in order, all or none; trim, count, stamp, slide the deadline.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | epoch | elements...
-- REPLY OK (seq stored?)... | GONE | STALE epoch agent | CONFLICT id | CORRUPT field
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history, expect, first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], 5
--#include clock
--#include slide
--#include session
--#include check
if fresh == 0 then -- a repeat is activity
  touch(find_deadline(ttl), found[1])
  return answer
end
if expect ~= '' and tonumber(expect) ~= epoch then
--#include refuse_visible
end
--#include push
call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count))
expire(find_deadline(ttl), meta, agent, history, ids)
return answer
