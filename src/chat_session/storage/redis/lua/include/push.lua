-- Pushes the fresh ones of the messages that were checked, completes the answer, and trims: of more than
-- a history holds only the last are written.
-- READS history ids max_history first count answer fresh n call
-- SETS  length beyond customer answered; count and answer for the fresh messages
--       customer, answered: the newest message of the customer, and of an operator that the customer can see
local length, beyond, customer, answered = 0, fresh - max_history, nil, nil
local skipped = beyond > 0 and {} -- of a batch longer than the history: the element's place and the number of each
for i = 1, n do
  if answer[2 * i] == 0 then
    local at = first + (i - 1) * 3
    count, beyond = count + 1, beyond - 1
    if beyond < 0 then
      length = call('RPUSH', history, ARGV[at + 2])
      if count < length then count = length end -- another program pushed, uncounted
      call('HSET', ids, ARGV[at], string.format('%d:%s', count, ARGV[at + 1]))
    else
      skipped[#skipped + 1], skipped[#skipped + 2] = at + 2, count
    end
    answer[2 * i] = count
    local from = string.sub(ARGV[at + 2], #ARGV[at] + 18, #ARGV[at] + 21) -- behind {"id":"…","from":"
    if from == 'user' then
      customer = count
    elseif from == 'oper' and string.sub(ARGV[at + 2], -17) ~= ',"internal":true}' then
      answered = count
    end
  end
end
if length > max_history then
  local before = count - length - (skipped and fresh - max_history or 0)
  for i, trimmed_element in ipairs(call('LPOP', history, length - max_history)) do
    local trimmed_seq = before + i
--#include trim
    local stop = string.sub(trimmed_element, 1, 7) == '{"id":"' and string.find(trimmed_element, '","from":', 8, true)
    if stop then call('HDEL', ids, string.sub(trimmed_element, 8, stop - 1)) end
  end
end
for i = 1, skipped and #skipped or 0, 2 do
  local trimmed_element, trimmed_seq = ARGV[skipped[i]], skipped[i + 1]
--#include trim
end
