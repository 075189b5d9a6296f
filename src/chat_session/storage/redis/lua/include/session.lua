-- Reads what every write of a session needs, and by reading it checks the type of every key that it
-- will write. Gives nil for no session; a second value names the field that is not a number.
local function read_session(default_ttl)
  local found = redis.call('HMGET', KEYS[1], 'userId', 'ttl', 'agentEpoch', 'messageCount', 'currentAgent')
  local length = redis.call('LLEN', KEYS[3])
  redis.call('HLEN', KEYS[4])
  redis.call('STRLEN', KEYS[2])
  if not found[1] then return nil end
  local session = {
    user = found[1],
    ttl = tonumber(found[2] or default_ttl),
    epoch = tonumber(found[3] or 0),
    count = tonumber(found[4] or 0),
    agent = found[5] or 'ai',
    length = length,
  }
  for _, field in ipairs({'ttl', 'epoch', 'count'}) do
    local number = session[field]
    if not number or number % 1 ~= 0 or number < -1 or number > 9007199254740991 then return nil, field end
  end
  if session.count < length then session.count = length end -- pushed by another program, uncounted
  return session
end

-- A number as Redis reads it back: Lua's own form turns 2^53 into 9.007e15.
local function digits(number) return string.format('%.0f', number) end
