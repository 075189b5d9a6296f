-- A score as a number; Lua 5.4's tonumber reads no inf.
-- READS nothing
-- SETS  read_score
local function read_score(text)
  if text == 'inf' then return math.huge end
  if text == '-inf' then return -math.huge end
  return tonumber(text)
end
