-- Pushes the fresh ones of the messages that were checked, completes the answer, and trims: of more than
-- a history holds only the last are written.
-- READS history ids max_history first count answer fresh n call
-- SETS  length beyond; count and answer for the fresh messages
local length, beyond = 0, fresh - max_history
for i = 1, n do
  if answer[2 * i] == 0 then
    local at = first + (i - 1) * 3
    count, beyond = count + 1, beyond - 1
    if beyond < 0 then
      length = call('RPUSH', history, ARGV[at + 2])
      if count < length then count = length end -- another program pushed, uncounted
      call('HSET', ids, ARGV[at], string.format('%d:%s', count, ARGV[at + 1]))
    end
    answer[2 * i] = count
  end
end
if length > max_history then
  for _, element in ipairs(call('LPOP', history, length - max_history)) do
    local stop = string.sub(element, 1, 7) == '{"id":"' and string.find(element, '","from":', 8, true)
    if stop then call('HDEL', ids, string.sub(element, 8, stop - 1)) end
  end
end
