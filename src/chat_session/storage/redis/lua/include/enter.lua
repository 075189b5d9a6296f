-- The score of an index entry whose order is the creation of its session: that moment in microseconds. It stays. Of
-- the same millisecond a later session has more. `created_ms` is text, and so is what is returned.
-- The last entry is read first: a range of scores costs the server three times as much.
-- READS call
-- SETS  find_place
local function find_place(key, created_ms)
  local first, last = created_ms .. '000', created_ms .. '999'
  local newest = tonumber(call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2])
  if newest and newest > tonumber(last) then -- made on a host whose clock is ahead
    newest = tonumber(call('ZREVRANGEBYSCORE', key, last, first, 'WITHSCORES', 'LIMIT', 0, 1)[2])
  end
  return newest and newest >= tonumber(first) and string.format('%.0f', newest + 1) or first
end
