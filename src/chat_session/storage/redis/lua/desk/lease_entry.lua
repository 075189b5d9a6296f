-- lease_entry: lease the first waiting session of some teams to an operator, with a seat, and renew the presence.
-- A repeated call is known by its token. A lease that is over is ended first: its claim has crashed.
-- KEYS  queue | teams | entries | seats | claims | leases | presence | operators | idle
-- ARGV  operator | token | lease_ms | presence_ms | default_capacity | wanted...
--       wanted: teams, none for all
-- REPLY OK session_id entry generation now_us | EMPTY | FULL assigned capacity
local queue, teams, entries, seats, claims, leases, presence, operators, idle = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local operator, token, lease_ms, presence_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local default_capacity = ARGV[5]
local call = redis.call
--#include moment
--#include place
--#include presence
--#include overdue
local assigned = call('ZLEXCOUNT', seats, '[' .. operator .. '\n', '(' .. operator .. '\n\255')
local generation = renew(operator, presence_ms, true, '', '')
end_overdue_leases(10)
--#include notify
local leased = call('HGET', claims, '\n' .. token)
if leased then return {'OK', leased, read_entry(leased).text, string.format('%.0f', generation), string.format('%.0f', now_us)} end
local _, capacity = read_operator(operator)
capacity = tonumber(capacity == '-1' and default_capacity or capacity)
if assigned >= capacity then return {'FULL', assigned, capacity} end

-- The first of the queue: its session, and its member of `teams` if teams are wanted.
local function find_first()
  if #ARGV == 5 then return call('ZRANGE', queue, 0, 0)[1], '' end
  local session, first, chosen
  for i = 6, #ARGV do
    local member = call('ZRANGEBYLEX', teams, '[' .. ARGV[i] .. '\n', '(' .. ARGV[i] .. '\n\255', 'LIMIT', 0, 1)[1]
    local place, found = string.match(member or '', '\n([^\n]*)\n([^\n]*)$')
    if place and (not first or place < first) then session, first, chosen = found, place, member end
  end
  return session, chosen
end

local session, member = find_first()
local entry = session and read_entry(session)
while session and not entry do -- damaged: a check puts it back, if its session waits
  call('ZREM', queue, session)
  call('ZREM', teams, member)
  session, member = find_first()
  entry = session and read_entry(session)
end
if not session then return {'EMPTY'} end
call('ZREM', queue, session)
call('ZREM', teams, entry.team .. '\n' .. entry.place .. '\n' .. session)
call('ZADD', leases, string.format('%.0f', now_ms + lease_ms), session)
call('ZADD', seats, 0, operator .. '\n' .. session)
call('HSET', claims, session, token .. '\n' .. operator, '\n' .. token, session)
return {'OK', session, entry.text, string.format('%.0f', generation), string.format('%.0f', now_us)}
