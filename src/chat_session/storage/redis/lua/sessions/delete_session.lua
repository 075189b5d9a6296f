-- delete_session: remove a session and both its index entries.
-- KEYS  meta | agent | history | ids | due? | user?
-- ARGV  member | session_id | user_id
-- REPLY OK deleted | GONE | MOVED
local meta, agent, history, ids, due, user = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local member, session_id, user_id = ARGV[1], ARGV[2], ARGV[3]

if due then -- on a cluster the entries live elsewhere: their keys are not given
  redis.call('ZCARD', due)
  redis.call('ZCARD', user)
end
local owner = redis.call('HGET', meta, 'userId')
if not owner then return {'GONE'} end
if owner ~= user_id then return {'MOVED'} end -- the id was given to another user meanwhile

if due then
  redis.call('ZREM', due, member)
  redis.call('ZREM', user, session_id)
end
return {'OK', redis.call('UNLINK', meta, agent, history, ids)}
