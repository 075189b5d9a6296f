-- find_message: a retained message by its id.
-- KEYS  meta | history | ids
-- ARGV  id
-- REPLY OK seq element | MISSING | GONE | CORRUPT field
local meta, history, ids = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[1]
local found = redis.call('HMGET', meta, 'userId', 'messageCount')
if not found[1] then return {'GONE'} end
local length = redis.call('LLEN', history)
local count = string.find(found[2] or '0', '^%d+$') and tonumber(found[2] or '0')
if not count or count > 9007199254740991 then return {'CORRUPT', 'messageCount'} end
if count < length then count = length end -- another program pushed, uncounted
local known = redis.call('HGET', ids, id)
if not known then return {'MISSING'} end
local seq = tonumber(string.match(known, '^(%d+):'))
if not seq or seq < 1 or seq > count then return {'CORRUPT', 'ids'} end
local element = redis.call('LINDEX', history, string.format('%.0f', seq - count - 1))
if not element then return {'MISSING'} end
return {'OK', seq, element}
