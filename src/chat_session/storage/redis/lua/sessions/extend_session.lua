-- extend_session: stamp the activity and slide the deadline by the session's own ttl.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl
-- REPLY OK | GONE | CORRUPT field
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, default_ttl = ARGV[1], ARGV[2]
--#include clock
--#include slide
--#include session
call('HSET', meta, 'lastActiveAt', now)
expire(find_deadline(ttl), meta, agent, history, ids)
return {'OK'}
