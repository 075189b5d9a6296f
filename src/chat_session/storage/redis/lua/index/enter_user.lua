-- enter_user: enter a session into its user's list, where that is on another node than the session.
-- KEYS  user
-- ARGV  session_id | created_ms
-- REPLY OK score before
local user = KEYS[1]
local session_id, created_ms = ARGV[1], ARGV[2]
--#include enter
local score = find_place(user, created_ms)
local before = redis.call('ZSCORE', user, session_id)
if before and tonumber(before) == tonumber(score) then -- another score than the dead one of this id had
  score = string.format('%.0f', tonumber(score) + 1)
end
redis.call('ZADD', user, score, session_id)
return {'OK', score, before}
