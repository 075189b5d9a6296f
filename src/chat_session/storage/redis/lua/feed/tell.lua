-- tell: hand news that are not stored to those who listen to a session now.
-- KEYS  channel
-- ARGV  news
-- REPLY OK
--       as in include/notify, without an error where the user has no right to the channel
local channel = KEYS[1]
local news = ARGV[1]
if not redis.REDIS_VERSION_NUM then
  redis.pcall('PUBLISH', channel, news)
elseif redis.acl_check_cmd('SPUBLISH', channel, news) then
  redis.pcall('SPUBLISH', channel, news)
end
return {'OK'}
