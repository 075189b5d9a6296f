-- read_desk_mark: a mark of the desk, which is another one when the head of the queue has changed, what an operator
-- has, or who is present.
-- KEYS  queue | entries | seats | presence | operators
-- ARGV  head
--       head: how many that wait
-- REPLY OK mark
local queue, entries, seats, presence, operators = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local head = tonumber(ARGV[1])
local call = redis.call
local parts = call('ZRANGE', queue, 0, head - 1, 'WITHSCORES')
for i = 1, #parts, 2 do
  parts[#parts + 1] = string.match(call('HGET', entries, parts[i]) or '', '^%d*') -- the stamp of its last step
end
for _, seat in ipairs(call('ZRANGE', seats, 0, -1)) do
  parts[#parts + 1] = seat
  parts[#parts + 1] = string.match(call('HGET', entries, string.match(seat, '\n(.*)$') or '') or '', '^%d*')
end
local present = call('ZRANGE', presence, 0, -1)
table.sort(present) -- by name: each renewal moves them
for _, operator in ipairs(present) do
  parts[#parts + 1] = operator
  parts[#parts + 1] = string.match(call('HGET', operators, operator) or '', '^%d+ %S+ %S+') or ''
end
return {'OK', string.sub(redis.sha1hex(table.concat(parts, '\n')), 1, 16)}
