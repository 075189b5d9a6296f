-- The calls that changed the session in the last minute, in `done` as "token milliseconds answer;" one behind the
-- other. A repeated call finds its token there and gives the answer of the first time.
-- A minute is longer than a call may take, retries included. 256 calls of one session share a round trip at most
-- before the next is told to wait: no token that may still be repeated is ever dropped.
local function find_answer(token)
  local at = string.find(done, token, 1, true)
  return at and string.match(done, '^ %d+ ([^;]*);', at + #token)
end

-- The field with one answer more; nil if there is no room.
local function add_answer(token, answer)
  local now, kept = read_clock(), {}
  for entry, at in string.gmatch(done, '([^ ;]+ (%d+) [^;]*;)') do
    if math.abs(now - tonumber(at)) < 60000 then kept[#kept + 1] = entry end
  end
  if #kept >= 256 then return nil end
  kept[#kept + 1] = string.format('%s %.0f %s;', token, now, answer)
  return table.concat(kept)
end
