-- delete_session: remove a session and its index entries.
-- KEYS  meta | agent | history | ids | draft | entries...
-- ARGV  user_id | expect_revision | entries...
--       entries: for each its member
-- REPLY OK deleted | GONE | MOVED | SEQUENCE last_seq revision
--       On a cluster the entries are on other nodes: none are given.
local meta, agent, history, ids, draft = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local user_id, expect_revision = ARGV[1], ARGV[2]

for i = 6, #KEYS do redis.call('ZCARD', KEYS[i]) end -- a key of another type ends the script here
local owner = redis.call('HGET', meta, 'userId')
if not owner then return {'GONE'} end
if owner ~= user_id then return {'MOVED'} end -- the id was given to another user meanwhile
if expect_revision ~= '' then
  local count, revision = (table.unpack or unpack)(redis.call('HMGET', meta, 'messageCount', 'cs:revision'))
  revision = tonumber(revision or 0)
  if revision ~= tonumber(expect_revision) then return {'SEQUENCE', tonumber(count or 0), revision} end
end

for i = 6, #KEYS do redis.call('ZREM', KEYS[i], ARGV[i - 3]) end
redis.call('UNLINK', draft)
local deleted = redis.call('UNLINK', meta, agent, history, ids)
--#include notify
return {'OK', deleted}
