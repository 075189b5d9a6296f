-- The server's time: microseconds since 2025, in which the desk counts, and milliseconds since 1970.
-- READS call
-- SETS  now_us now_ms
local now_us, now_ms
do
  local time = call('TIME')
  now_us = (time[1] - 1735689600) * 1000000 + time[2]
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end
