-- Reads what every write of a session needs. Gives nil for no session; a second value names the field
-- that is not a number.
local call = redis.call

local function whole(text)
  local number = tonumber(text)
  if number and number % 1 == 0 and number >= -1 and number <= 9007199254740991 then return number end
end

local function read_session(default_ttl)
  local found = call('HMGET', KEYS[1], 'userId', 'ttl', 'agentEpoch', 'messageCount', 'currentAgent')
  if not found[1] then return nil end
  local ttl, epoch = whole(found[2] or default_ttl), whole(found[3] or 0)
  local count = whole(found[4] or call('LLEN', KEYS[3]))
  if not ttl then return nil, 'ttl' end
  if not epoch then return nil, 'agentEpoch' end
  if not count then return nil, 'messageCount' end
  return {ttl = ttl, epoch = epoch, count = count, agent = found[5] or 'ai'}
end

-- A number as Redis reads it back: Lua's own form turns 2^53 into 9.007e15.
local function digits(number) return string.format('%.0f', number) end
