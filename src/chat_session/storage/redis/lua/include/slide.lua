-- Gives all keys of the session one deadline, ttl seconds ahead by the server's clock; -1 is never.
-- Returns it in milliseconds, as the score of a hint.
local function slide(ttl)
  if ttl == -1 then
    redis.call('HSET', KEYS[1], 'ttl', ttl) -- a write in any case, so that its replicas can be waited for
    for i = 1, 4 do redis.call('PERSIST', KEYS[i]) end
    return '+inf'
  end
  local time = redis.call('TIME')
  local deadline = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ttl * 1000)
  for i = 1, 4 do redis.call('PEXPIREAT', KEYS[i], deadline) end
  return deadline
end
