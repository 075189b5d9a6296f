-- finish_entry: score an index entry or remove it, if it is still as it was seen.
-- KEYS  index
-- ARGV  member | seen | verdict
--       verdict: reap, mark_dead, discard, or the score it shall have
-- REPLY OK finished
--       1, or 0 if somebody has changed it since
local member, seen, verdict = ARGV[1], ARGV[2], ARGV[3]

local score = redis.call('ZSCORE', KEYS[1], member)
local same = score and (score == seen or tonumber(score) and tonumber(score) == tonumber(seen))
if not same and not (score == '0' and verdict == 'reap') then return {'OK', 0} end -- marked since: as dead as before

redis.call('ZREM', KEYS[1], member) -- first: with it a server that is full lets the rest pass
if verdict == 'mark_dead' then
  redis.call('ZADD', KEYS[1], 0, member)
elseif verdict ~= 'reap' and verdict ~= 'discard' then
  redis.call('ZADD', KEYS[1], verdict, member)
end
return {'OK', 1}
