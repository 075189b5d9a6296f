-- Messages stand in ARGV from `first` on, as id, fingerprint, element. First all of them are checked,
-- then all are written. The answer is OK and, per message, its seq and the stored element if it was there
-- before; or the word that refuses.
-- A fingerprint is 16 characters for the content and, where the caller gave a timestamp, 8 for that. It is
-- the same content if the timestamps are equal, or one of the two was filled in.
local function same(one, other)
  local t, u = string.sub(one, 17), string.sub(other, 17)
  return string.sub(one, 1, 16) == string.sub(other, 1, 16) and (t == '' or u == '' or t == u)
end

local function answer_known(session, answer, at, known)
  if session.count < call('LLEN', KEYS[3]) then session.count = call('LLEN', KEYS[3]) end
  local seq, fingerprint = string.match(known, '^(%d+):(.*)$')
  answer[#answer + 1] = tonumber(seq)
  answer[#answer + 1] = call('LINDEX', KEYS[3], seq - session.count - 1) or ARGV[at + 2]
  return same(fingerprint, ARGV[at + 1])
end
-- Of a batch longer than the history the first ids were forgotten at once; its end tells a repeat.
local function read_end(n, max_history)
  local last = n > max_history and call('HGET', KEYS[4], ARGV[#ARGV - 2])
  return last and tonumber(string.match(last, '^%d+'))
end
local function check_messages(session, first, max_history)
  local answer, fresh = {'OK'}, {}
  local n = (#ARGV - first + 1) / 3
  local repeated_end = read_end(n, max_history)
  for i = 1, n do
    local at = first + (i - 1) * 3
    local known = call('HGET', KEYS[4], ARGV[at])
    if known then
      if not answer_known(session, answer, at, known) then return {'CONFLICT', ARGV[at]} end
    elseif repeated_end and n - i >= max_history then
      answer[#answer + 1] = repeated_end - (n - i)
      answer[#answer + 1] = ARGV[at + 2]
    else
      fresh[#fresh + 1] = at
      answer[#answer + 1] = 0 -- its seq comes when it is pushed
      answer[#answer + 1] = false
    end
  end
  return answer, fresh
end
local function push_messages(session, answer, first, fresh, max_history)
  local length = 0
  for i, at in ipairs(fresh) do
    session.count = session.count + 1
    if i > #fresh - max_history then
      length = call('RPUSH', KEYS[3], ARGV[at + 2])
      if session.count < length then session.count = length end -- another program pushed, uncounted
      call('HSET', KEYS[4], ARGV[at], digits(session.count) .. ':' .. ARGV[at + 1])
    end
    answer[2 + (at - first) / 3 * 2] = session.count
  end
  if length > max_history then
    for _, element in ipairs(call('LPOP', KEYS[3], length - max_history)) do
      local id = string.match(element, '^{"id":"(.-)","from":')
      if id then call('HDEL', KEYS[4], id) end
    end
  end
end
