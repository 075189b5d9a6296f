-- For a session whose turns are found by workers: ends the script if a fresh message is the customer's, and its entry in
-- the index of turns was not written before.
-- READS first answer n
-- SETS  nothing
for i = 1, n do
  local at = first + (i - 1) * 3
  local from = string.sub(ARGV[at + 2], #ARGV[at] + 18, #ARGV[at] + 21)
  if answer[2 * i] == 0 and from == 'user' then return {'UNNOTED'} end
end
