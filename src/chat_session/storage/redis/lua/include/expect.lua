-- Compares entries of the session's metadata with what the caller expects. ARGV has from `at` on how many they are,
-- then each with its value; an empty value stands for a missing entry, others have a = before them.
-- READS meta call
-- SETS  find_difference
-- The name of the first that differs, nil if none does; and where the next argument is.
local function find_difference(at)
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do
    local value = call('HGET', meta, ARGV[i])
    if (value and '=' .. value or '') ~= ARGV[i + 1] then return ARGV[i], last + 1 end
  end
  return nil, last + 1
end
