-- move_hint: score, mark or remove a hint, if nobody has touched it since it was seen.
-- A hint that was touched less than a minute ago is not found dead: its session may be about to come.
-- Whoever touched it may drop it all the same.
-- KEYS  hints
-- ARGV  member | seen | verdict
--       verdict: remove, mark, drop, or the score it shall have
-- REPLY OK moved
--       1; 0: it stands as it was seen and may not go yet; -1: it does not stand so any more
local member, seen, verdict = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local score = tonumber(redis.call('ZSCORE', KEYS[1], member))
if not score or score ~= seen and not (score == 0 and verdict == 'remove') then return {'OK', -1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = verdict == 'remove' or verdict == 'mark'
if dead and score % 1 ~= 0 and now - score < 60000 then return {'OK', 0} end

redis.call('ZREM', KEYS[1], member) -- first: with it a server that is full lets the rest pass
if verdict == 'mark' then
  redis.call('ZADD', KEYS[1], 0, member)
elseif verdict ~= 'remove' and verdict ~= 'drop' then
  redis.call('ZADD', KEYS[1], verdict, member)
end
return {'OK', 1}
