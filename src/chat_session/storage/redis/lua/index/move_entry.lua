-- move_entry: an index entry of a session that was given to another user becomes that user's, if it is still as it was
-- seen. The new entry is due at once: what the session says now was not asked after that entry was read.
-- KEYS  index
-- ARGV  member | seen | new_member
-- REPLY OK moved
--       1, or 0 if somebody has changed it since
local index = KEYS[1]
local member, seen, new_member = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('ZSCORE', index, member)
if not found or (found ~= seen and tonumber(found) ~= tonumber(seen)) then return {'OK', 0} end
redis.call('ZREM', index, member) -- first: with it a server that is full lets the rest pass
if not redis.call('ZSCORE', index, new_member) then
  redis.call('ZADD', index, string.format('%.0f', math.floor(tonumber(seen))), new_member)
end
return {'OK', 1}
