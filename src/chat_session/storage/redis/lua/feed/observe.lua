-- observe: a session as a watcher at a position needs it, in one step.
-- KEYS  meta | history | draft
-- ARGV  seq | reply_id | offset | size
--       seq: of the last message that the watcher was told of; -1 for no message
-- REPLY OK fields first last expires told? (element)... offset text? | GONE | CORRUPT field
--       expires: 1 if the session has a deadline; element: until they have size bytes, but one at least;
--       text: of a reply that grows, size bytes behind the offset; false if the string is gone
local meta, history, draft = KEYS[1], KEYS[2], KEYS[3]
local seq, reply_id, offset, size = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local call = redis.call
--#include whole
local fields, owner, counted, reply = call('HGETALL', meta), nil, '0', ''
for i = 1, #fields, 2 do -- a third of what HMGET would cost
  local name = fields[i]
  if name == 'userId' then
    owner = fields[i + 1]
  elseif name == 'messageCount' then
    counted = fields[i + 1]
  elseif name == 'cs:draft' then
    reply = fields[i + 1]
  end
end
if not owner then return {'GONE'} end
local last, length = whole(counted), call('LLEN', history)
if not last then return {'CORRUPT', 'messageCount'} end
last = math.max(last, length) -- another program may have pushed, uncounted
local first = last - length + 1

local told, elements = false, {}
if seq >= 0 then
  local begin, at = math.max(seq + 1, first), nil
  if seq >= first and seq <= last then -- the usual case: one message more, which is read with the one before
    local both = call('LRANGE', history, seq - first, seq - first + 1)
    told, elements[1], at = both[1], both[2], begin + 1
  elseif begin <= last then
    elements[1], at = call('LINDEX', history, begin - first), begin + 1
  end
  local bytes = elements[1] and #elements[1] or size
  while bytes < size and at <= last do
    elements[#elements + 1] = call('LINDEX', history, at - first)
    bytes, at = bytes + #elements[#elements], at + 1
  end
end

local text = ''
local growing = string.match(reply, '^(%S+) (%d+) growing')
if growing then
  if growing ~= reply_id then offset = 0 end
  text = call('GETRANGE', draft, offset, offset + size - 1)
  if text == '' and call('EXISTS', draft) == 0 then text = false end
end
return {'OK', fields, first, last, call('PTTL', meta) >= 0 and 1 or 0, told, elements, offset, text}
