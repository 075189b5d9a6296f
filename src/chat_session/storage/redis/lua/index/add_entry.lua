-- add_entry: add the entry of a new session whose order is the creation, to an index on another node than the session.
-- KEYS  index
-- ARGV  member | created_ms
-- REPLY OK score before
local index = KEYS[1]
local member, created_ms = ARGV[1], ARGV[2]
local call = redis.call
--#include enter
local score = find_place(index, created_ms)
local before = call('ZSCORE', index, member)
if before and tonumber(before) == tonumber(score) then -- another score than the dead one of this id had
  score = string.format('%.0f', tonumber(score) + 1)
end
call('ZADD', index, score, member)
return {'OK', score, before}
