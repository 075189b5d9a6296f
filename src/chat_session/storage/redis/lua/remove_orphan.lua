-- remove_orphan: remove what is left of a session that is no more.
-- KEYS  meta | agent | history | ids
-- ARGV
-- REPLY OK removed
if redis.call('HEXISTS', KEYS[1], 'userId') == 1 then return {'OK', 0} end
return {'OK', redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])}
