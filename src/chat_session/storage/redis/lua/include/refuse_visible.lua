-- For a stale epoch: ends the script unless all fresh messages are internal. Those record what was done.
-- READS first answer n epoch current
-- SETS  nothing
for i = 1, n do
  local internal = string.sub(ARGV[first + 3 * i - 1], -17) == ',"internal":true}'
  if answer[2 * i] == 0 and not internal then return {'STALE', epoch, current} end
end
