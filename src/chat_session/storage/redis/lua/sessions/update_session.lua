-- update_session: merge metadata; neither the deadline nor the last activity moves.
-- KEYS  meta
-- ARGV  max_entries | max_bytes | reserved | removed | changes...
--       `removed` counts the names that come first, to be removed; then name, value, …
-- REPLY OK fields | GONE | FULL entries bytes
--       The size of metadata is that of the names and of the values as they are stored.
local meta = KEYS[1]
local max_entries, max_bytes, reserved, removed = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

local stored = redis.call('HGETALL', meta)
local merged = {}
for i = 1, #stored, 2 do merged[stored[i]] = stored[i + 1] end
if not merged['userId'] then return {'GONE'} end
for i = 5, 4 + removed do merged[ARGV[i]] = nil end
for i = 5 + removed, #ARGV, 2 do merged[ARGV[i]] = ARGV[i + 1] end
local entries, bytes = 0, 0
for name, value in pairs(merged) do
  if not string.find(reserved, ' ' .. name .. ' ', 1, true) and string.sub(name, 1, 3) ~= 'cs:' then
    entries, bytes = entries + 1, bytes + #name + #value
  end
end
if entries > max_entries or bytes > max_bytes then return {'FULL', entries, bytes} end

for i = 5, 4 + removed do redis.call('HDEL', meta, ARGV[i]) end -- first: a server that is full lets it pass
redis.call('HSET', meta, 'userId', merged['userId']) -- a write in any case, so that replicas can be waited for
local unpack = table.unpack or unpack -- Lua 5.4 has the first, 5.1 the second
if #ARGV > 4 + removed then redis.call('HSET', meta, unpack(ARGV, 5 + removed)) end
return {'OK', redis.call('HGETALL', meta)}
