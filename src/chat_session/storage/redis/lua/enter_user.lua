-- enter_user: enter a session into its user's list, where that is on another node than the session.
-- KEYS  user
-- ARGV  session_id | created_ms
-- REPLY OK score before
local session_id, created_ms = ARGV[1], tonumber(ARGV[2])
--#include enter
local score, before = enter(KEYS[1], session_id, created_ms)
return {'OK', score, before}
