-- update_state: merge entries into the state of a user or an application.
-- KEYS  state
-- ARGV  max_entries | max_bytes | changes...
--       changes: as in include/merge
-- REPLY OK fields | FULL entries bytes
local state = KEYS[1]
local max_entries, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local call = redis.call
--#include merge
local changes = read_changes(3)
local entries, bytes = measure(state, changes, '')
if entries > max_entries or bytes > max_bytes then return {'FULL', entries, bytes} end
merge(state, changes)
return {'OK', call('HGETALL', state)}
