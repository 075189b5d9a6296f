-- check_channel: by which command a channel is listened to, so that it is the kind to which include/notify publishes;
-- and whether the user may. Asked in a script, a missing right makes no entry in the server's ACL LOG.
-- KEYS  channel
-- ARGV
-- REPLY OK command allowed
--       allowed: 1 also where it is not known, which is before version 7.0
local channel = KEYS[1]
if not redis.REDIS_VERSION_NUM then return {'OK', 'SUBSCRIBE', 1} end
return {'OK', 'SSUBSCRIBE', redis.acl_check_cmd('SSUBSCRIBE', channel) and 1 or 0}
