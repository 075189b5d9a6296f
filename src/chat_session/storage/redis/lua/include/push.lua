-- Pushes the fresh ones of the messages that were checked, completes the answer, and trims: of more than
-- a history holds only the last are written.
local length, beyond = 0, fresh - max_history
for i = 1, n do
  if answer[2 * i] == 0 then
    local at = first + (i - 1) * 3
    count, beyond = count + 1, beyond - 1
    if beyond < 0 then
      length = call('RPUSH', KEYS[3], ARGV[at + 2])
      if count < length then count = length end -- another program pushed, uncounted
      call('HSET', KEYS[4], ARGV[at], string.format('%d:%s', count, ARGV[at + 1]))
    end
    answer[2 * i] = count
  end
end
if length > max_history then
  for _, element in ipairs(call('LPOP', KEYS[3], length - max_history)) do
    local stop = string.sub(element, 1, 7) == '{"id":"' and string.find(element, '","from":', 8, true)
    if stop then call('HDEL', KEYS[4], string.sub(element, 8, stop - 1)) end
  end
end
