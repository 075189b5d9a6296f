-- The entries of the desk. `entries` has for each session "stamp state place", its team, its operator and its facts in
-- lines. One that waits is in `queue` by its place, and in `teams` as "team place session" in lines, in the order of the
-- bytes. One that is assigned has a seat, "operator session" in lines. While a claim is under way, a waiting entry is
-- in `leases` instead of the queue; `claims` has the token and the operator of its claim, and the session of each token.
-- READS call queue teams entries seats claims leases idle
-- SETS  read_entry put end_lease take_away
local function read_entry(session)
  local text = call('HGET', entries, session) or ''
  local stamp, state, place, team, operator = string.match(text, '^(%d+) (%l+) (%d+)\n([^\n]*)\n([^\n]*)\n')
  return stamp and {stamp = tonumber(stamp), state = state, place = place, team = team, operator = operator, text = text}
end

local function put(session, entry)
  if entry.state == 'waiting' then
    call('ZADD', queue, entry.place, session)
    call('ZADD', teams, 0, entry.team .. '\n' .. entry.place .. '\n' .. session)
  elseif entry.state == 'assigned' and entry.operator ~= '' then
    call('ZADD', seats, 0, entry.operator .. '\n' .. session)
  end
end

-- Whether there was one. The entry is in the queue again only if it is put there.
local function end_lease(session)
  local claim = call('HGET', claims, session)
  if not claim then return false end
  local token, operator = string.match(claim, '^([^\n]*)\n(.*)$')
  call('ZREM', seats, operator .. '\n' .. session)
  call('HDEL', claims, session, '\n' .. token)
  call('ZREM', leases, session)
  return true
end

local function take_away(session, entry)
  end_lease(session)
  call('ZREM', queue, session)
  call('ZREM', teams, entry.team .. '\n' .. entry.place .. '\n' .. session)
  call('ZREM', seats, entry.operator .. '\n' .. session)
  call('ZREM', idle, session)
end
