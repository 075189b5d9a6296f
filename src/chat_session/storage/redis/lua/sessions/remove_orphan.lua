-- remove_orphan: remove what is left of a session that is no more, if this package wrote it: only it writes ids.
-- KEYS  meta | agent | history | ids
-- ARGV
-- REPLY OK removed
local meta, agent, history, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('HEXISTS', meta, 'userId') == 1 then return {'OK', 0} end
local known = redis.call('HRANDFIELD', ids, 1, 'WITHVALUES')[2]
if not known or not string.find(known, '^%d+:%x+$') then return {'OK', 0} end
return {'OK', redis.call('UNLINK', meta, agent, history, ids)}
