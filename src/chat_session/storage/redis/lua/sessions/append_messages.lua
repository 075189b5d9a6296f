-- append_messages: add messages in order, all or none; trim, count, stamp, slide the deadline.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl | max_history | epoch | noted | elements...
--       noted: 1 if the session's entry in the index of turns was written before
-- REPLY OK (seq stored?)... | GONE | STALE epoch agent | UNNOTED | CONFLICT id | CORRUPT field
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl, max_history, expect, noted, first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], 6
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
if found[8] and noted == '' then
--#include refuse_unnoted
end
--#include push
if customer and not answered then -- most messages: one command instead of two
  call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count), 'cs:customer',
    string.format('%d', customer))
else
  call('HSET', meta, 'lastActiveAt', now, 'messageCount', string.format('%d', count))
--#include mark
end
expire(find_deadline(ttl), meta, agent, history, ids)
--#include notify
return answer
