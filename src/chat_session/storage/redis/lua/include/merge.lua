-- Merging entries into a hash. ARGV has how many names are to be removed, then those, how many entries are to be set,
-- then each with its value.
-- READS call
-- SETS  read_changes measure merge
-- Where the changes that begin at `at` are, and where the next argument is.
local function read_changes(at)
  local removed = tonumber(ARGV[at])
  local set = tonumber(ARGV[at + 1 + removed])
  local first = at + 2 + removed
  return {removed_from = at + 1, removed_to = at + removed, from = first, to = first + 2 * set - 1}, first + 2 * set
end

-- How many entries the hash has after the changes, and the bytes of their names and values. Names in `reserved`, which
-- has a space around each, and those that begin with cs: do not count.
local function measure(key, changes, reserved)
  local merged, stored = {}, call('HGETALL', key)
  for i = 1, #stored, 2 do merged[stored[i]] = stored[i + 1] end
  for i = changes.removed_from, changes.removed_to do merged[ARGV[i]] = nil end
  for i = changes.from, changes.to, 2 do merged[ARGV[i]] = ARGV[i + 1] end
  local entries, bytes = 0, 0
  for name, value in pairs(merged) do
    if not string.find(reserved, ' ' .. name .. ' ', 1, true) and string.sub(name, 1, 3) ~= 'cs:' then
      entries, bytes = entries + 1, bytes + #name + #value
    end
  end
  return entries, bytes
end

local function merge(key, changes)
  for i = changes.removed_from, changes.removed_to do call('HDEL', key, ARGV[i]) end -- first: a full server lets it pass
  if changes.to > changes.from then call('HSET', key, (table.unpack or unpack)(ARGV, changes.from, changes.to)) end
end
