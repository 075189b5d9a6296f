-- The score of a session that is entered into its user's list: the moment of creation in microseconds. It stays. Of
-- the same millisecond a later session has more.
local function find_place(key, created_ms)
  local score = created_ms * 1000
  local newest = read_score(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or 0)
  if newest >= score and newest < score + 1000 then score = newest + 1 end
  return score
end
