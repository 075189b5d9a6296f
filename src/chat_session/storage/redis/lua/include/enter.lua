-- The score of a session that is entered into its user's list: the moment of creation in microseconds. It stays. Of
-- the same millisecond a later session has more. `created_ms` is text, and so is what is returned.
local function find_place(key, created_ms)
  local first, last = created_ms .. '000', created_ms .. '999'
  local newest = redis.call('ZREVRANGEBYSCORE', key, last, first, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return newest and string.format('%.0f', tonumber(newest) + 1) or first
end
