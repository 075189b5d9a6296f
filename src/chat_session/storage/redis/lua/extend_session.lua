-- extend_session: stamp the activity and slide the deadline by the session's own ttl.
-- KEYS  meta | agent | history | ids
-- ARGV  now | default_ttl
-- REPLY OK | GONE | CORRUPT field
--#include session
--#include slide
local now, default_ttl = ARGV[1], ARGV[2]

local session, broken = read_session(default_ttl)
if broken then return {'CORRUPT', broken} end
if not session then return {'GONE'} end

call('HSET', KEYS[1], 'lastActiveAt', now)
slide(session.ttl)
return {'OK'}
