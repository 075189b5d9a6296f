-- The server's time in whole milliseconds, the same throughout the script.
-- READS nothing
-- SETS  call read_clock
local call = redis.call
local clock
local function read_clock()
  if not clock then
    local time = call('TIME')
    clock = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return clock
end
