-- The score of a session that is entered into its user's list: the moment of creation in microseconds. It stays. Of
-- the same millisecond a later session has more.
local function find_place(key, created_ms)
  local first, last = string.format('%.0f', created_ms * 1000), string.format('%.0f', created_ms * 1000 + 999)
  local newest = redis.call('ZREVRANGEBYSCORE', key, last, first, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return newest and tonumber(newest) + 1 or created_ms * 1000
end
