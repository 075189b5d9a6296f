-- Enters a session into its user's list. The score is the moment of creation in microseconds, and it stays. Of the
-- same millisecond a later session has more; one that takes the id of a dead one has another score than that had.
-- Returns the score and the one before, false if there was none.
local function enter(key, session_id, created_ms)
  local score = created_ms * 1000
  local newest = tonumber(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or 0)
  if newest >= score and newest < score + 1000 then score = newest + 1 end
  local before = redis.call('ZSCORE', key, session_id)
  if before and tonumber(before) == score then score = score + 1 end
  local written = string.format('%.0f', score)
  redis.call('ZADD', key, written, session_id)
  return written, before
end
