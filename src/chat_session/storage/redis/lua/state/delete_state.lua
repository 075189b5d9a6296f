-- delete_state: remove the state of a user or an application.
-- KEYS  state
-- ARGV
-- REPLY OK removed
local state = KEYS[1]
local entries = redis.call('HLEN', state)
redis.call('UNLINK', state)
return {'OK', entries}
