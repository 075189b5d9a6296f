-- One deadline for all keys of a session, so that none outlives another.
-- READS meta agent history ids call read_clock
-- SETS  find_deadline expire touch set

-- ttl seconds ahead, in milliseconds, as the score of an index entry; -1 is never.
local function find_deadline(ttl)
  if ttl == -1 then return '+inf' end
  return string.format('%.0f', read_clock() + ttl * 1000)
end

local function expire(deadline, ...)
  for _, key in ipairs({...}) do
    if deadline == '+inf' then call('PERSIST', key) else call('PEXPIREAT', key, deadline) end
  end
end

-- What a repeated call does besides answering: a write in any case, so that its replicas can be waited for.
-- PEXPIREAT first: with it a server that is full lets the rest pass.
local function touch(deadline, owner)
  expire(deadline, meta, agent, history, ids)
  call('HSET', meta, 'userId', owner)
end

-- A SET that takes the deadline along.
local function set(key, value, deadline, ...)
  if deadline == '+inf' then return call('SET', key, value, ...) end
  return call('SET', key, value, 'PXAT', deadline, ...)
end
