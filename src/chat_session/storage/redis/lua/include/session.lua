-- Reads what every write of a session needs. Gives nil for no session; a second value names the field
-- that is not a number.
local call = redis.call
local function read_session(default_ttl)
  local found = call('HMGET', KEYS[1], 'userId', 'ttl', 'agentEpoch', 'messageCount', 'currentAgent')
  if not found[1] then return nil end
  local session = {
    ttl = tonumber(found[2] or default_ttl),
    epoch = tonumber(found[3] or 0),
    count = tonumber(found[4] or call('LLEN', KEYS[3])),
    agent = found[5] or 'ai',
  }
  for _, field in ipairs({'ttl', 'epoch', 'count'}) do
    local number = session[field]
    if not number or number % 1 ~= 0 or number < -1 or number > 9007199254740991 then return nil, field end
  end
  return session
end

-- A number as Redis reads it back: Lua's own form turns 2^53 into 9.007e15.
local function digits(number) return string.format('%.0f', number) end
