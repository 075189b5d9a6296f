-- While writers are changing a session, the score of its entry is a millisecond that has passed and a fraction: in
-- 2048ths, how many writers are at work, and 1024 more once there were several. All other scores are whole.
-- Returns how many are at work. Nobody is for longer than a minute.
-- READS nothing
-- SETS  count_writers
local function count_writers(score, now)
  if score <= now - 60000 or score == math.huge then return 0 end
  return score % 1 * 2048 % 1024
end
