local call = redis.call

-- The server's time in whole milliseconds.
local function read_clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
