-- list_entries: a page of an index: the entries behind a place in it. The entry at that place may be gone.
-- KEYS  index
-- ARGV  direction | score | member | limit
--       direction: ascending or descending; score: empty for the first page
-- REPLY OK (member score)...
local index = KEYS[1]
local descending, score, member, limit = ARGV[1] == 'descending', ARGV[2], ARGV[3], tonumber(ARGV[4])
local read = descending and 'ZREVRANGE' or 'ZRANGE'

--#include score

-- Whether one member precedes another byte by byte: Lua's < follows the server's locale.
local function precedes(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- Whether the entry at a rank is behind the place.
local function is_behind(rank)
  local entry = redis.call(read, index, rank, rank, 'WITHSCORES')
  local at, wanted = read_score(entry[2]), read_score(score)
  if at ~= wanted then return (at > wanted) ~= descending end
  return entry[1] ~= member and precedes(member, entry[1]) ~= descending
end

local first, beyond = 0, score == '' and 0 or redis.call('ZCARD', index)
while first < beyond do -- 17 steps in a hundred thousand entries
  local middle = math.floor((first + beyond) / 2)
  if is_behind(middle) then beyond = middle else first = middle + 1 end
end
return {'OK', redis.call(read, index, first, first + limit - 1, 'WITHSCORES')}
