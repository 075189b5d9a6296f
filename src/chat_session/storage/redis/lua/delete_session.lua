-- delete_session: remove a session and both its index entries.
-- KEYS  meta | agent | history | ids | due? | user?
-- ARGV  member | session_id | user_id
-- REPLY OK deleted | GONE | MOVED
local member, session_id, user_id = ARGV[1], ARGV[2], ARGV[3]

if KEYS[5] then -- on a cluster the entries live elsewhere: their keys are not given
  redis.call('ZCARD', KEYS[5])
  redis.call('ZCARD', KEYS[6])
end
local owner = redis.call('HGET', KEYS[1], 'userId')
if not owner then return {'GONE'} end
if owner ~= user_id then return {'MOVED'} end -- the id was given to another user meanwhile

if KEYS[5] then
  redis.call('ZREM', KEYS[5], member)
  redis.call('ZREM', KEYS[6], session_id)
end
return {'OK', redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])}
