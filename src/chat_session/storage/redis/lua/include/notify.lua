-- Tells those who listen that something has changed: on the channel that is named as the first key, with feed as its
-- last word. From version 7.0 the channel belongs to a shard, and a user without the right to it is known before; then
-- nothing is told, and those who listen find the change when they look for it. No error here ends the script.
-- READS nothing
-- SETS  nothing
do
  local channel = string.match(KEYS[1], '^.*:') .. 'feed'
  if not redis.REDIS_VERSION_NUM then
    redis.pcall('PUBLISH', channel, '')
  elseif redis.acl_check_cmd('SPUBLISH', channel, '') then
    redis.pcall('SPUBLISH', channel, '')
  end
end
