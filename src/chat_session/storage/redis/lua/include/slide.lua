-- One deadline for all keys of a session, so that none outlives another.
local call = redis.call

-- ttl seconds ahead by the server's clock, in milliseconds, as the score of a hint; -1 is never.
local function find_deadline(ttl)
  if ttl == -1 then return '+inf' end
  local time = call('TIME')
  return string.format('%d', time[1] * 1000 + time[2] / 1000 + ttl * 1000)
end

local function expire(deadline, ...)
  for _, key in ipairs({...}) do
    if deadline == '+inf' then call('PERSIST', key) else call('PEXPIREAT', key, deadline) end
  end
end

-- A SET that takes the deadline along.
local function set(key, value, deadline, ...)
  if deadline == '+inf' then return call('SET', key, value, ...) end
  return call('SET', key, value, 'PXAT', deadline, ...)
end
