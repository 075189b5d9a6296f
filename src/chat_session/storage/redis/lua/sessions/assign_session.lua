-- assign_session: give a session to another user, and its index entries with it.
-- KEYS  meta | entries...
-- ARGV  user_id | new_user | max_former | entries...
--       entries: of the user before, and then of the new one, in the same order; for each its member
-- REPLY OK fields | GONE | MOVED
--       On a cluster the entries are on other nodes: none are given. Then cs:former has the users before, so that a
--       later look at one of their entries does not take the session for dead.
local meta = KEYS[1]
local user_id, new_user, max_former = ARGV[1], ARGV[2], tonumber(ARGV[3])
local call = redis.call
local owner = call('HGET', meta, 'userId')
if not owner then return {'GONE'} end
if owner ~= user_id and owner ~= new_user then return {'MOVED'} end
local time = call('TIME')
local half = math.floor((#KEYS - 1) / 2)
local scores = {}
for i = 2, half + 1 do -- an entry that was lost is due now, or comes to the beginning of its list
  scores[i] = call('ZSCORE', KEYS[i], ARGV[i + 2]) or call('ZSCORE', KEYS[i + half], ARGV[i + half + 2])
    or string.format(i == 2 and '%s%03.0f' or '%s%03.0f000', time[1], math.floor(time[2] / 1000))
end

call('HSET', meta, 'userId', new_user)
if half == 0 and owner ~= new_user then
  local former = call('HGET', meta, 'cs:former')
  former = owner .. (former and '\n' .. former or '')
  local kept = {}
  for each in string.gmatch(former, '[^\n]+') do
    if #kept < max_former then kept[#kept + 1] = each end
  end
  call('HSET', meta, 'cs:former', table.concat(kept, '\n'))
end
for i = 2, half + 1 do
  call('ZREM', KEYS[i], ARGV[i + 2])
  call('ZADD', KEYS[i + half], scores[i], ARGV[i + half + 2])
end
--#include notify
return {'OK', call('HGETALL', meta)}
