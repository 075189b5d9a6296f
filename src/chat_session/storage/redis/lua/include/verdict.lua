-- Makes of an entry what the verdict says: reap and discard remove it, mark_dead scores it 0, a number scores it so.
-- READS nothing
-- SETS  apply
local function apply(key, member, verdict)
  redis.call('ZREM', key, member) -- first: with it a server that is full lets the rest pass
  if verdict == 'reap' or verdict == 'discard' then return end
  redis.call('ZADD', key, verdict == 'mark_dead' and '0' or verdict, member)
end
