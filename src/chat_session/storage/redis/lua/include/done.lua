-- The calls that changed the session in the last minute, in `done` as "id.number milliseconds answer;" one behind the
-- other. A repeated call finds its token there and gives the answer of the first time.
-- A minute is longer than a call may take, retries included. The calls of this id below `answered_below` were
-- answered and are not repeated. There is room for 256 that may be repeated; then the next call has to wait, so none is
-- ever forgotten.
-- READS token answered_below done read_clock
-- SETS  repeated add_answer
local repeated = string.find(done, token .. ' ', 1, true)
if repeated then repeated = string.match(done, '^%d+ ([^;]*);', repeated + #token + 1) end

-- The field with one answer more, which is two numbers; nil if there is no room.
local function add_answer(one, two)
  local now = read_clock()
  local entry = string.format('%s %.0f %d %d;', token, now, one, two)
  if done == '' then return entry end
  local own, kept = string.match(token, '^[^.]*'), {}
  for known, id, number, at in string.gmatch(done, '(([^ .]+)%.(%d+) (%d+) [^;]*;)') do
    local ended = id == own and tonumber(number) < answered_below or math.abs(now - at) >= 60000
    if not ended then kept[#kept + 1] = known end
  end
  if #kept == 256 then return nil end
  return table.concat(kept) .. entry
end
