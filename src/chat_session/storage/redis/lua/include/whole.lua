-- A number is digits and nothing else, as in codec.py: tonumber would read nan, 0x10 and 1e3 as well. For scripts that
-- do not include session.
-- READS nothing
-- SETS  MAX_NUMBER whole
local MAX_NUMBER = 9007199254740991
local function whole(text)
  local number = #text <= 16 and string.find(text, '^%d+$') and tonumber(text)
  if number and number <= MAX_NUMBER then return number end
end
