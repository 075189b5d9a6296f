-- Messages stand in ARGV from `first` on, as id, fingerprint, element. First all of them are checked,
-- then all are written. Returns the answer: OK and, per message, its seq and the stored element if
-- it was there before; or the word that refuses. The same is what has the fingerprint or, for a
-- message that was read and is sent back with the timestamp it was given, the very bytes.
local function check_messages(session, first, max_history)
  local answer, fresh = {'OK'}, {}
  local n = (#ARGV - first + 1) / 3
  local forgotten = n - max_history -- so many of a long batch were trimmed by the batch itself
  local last = forgotten > 0 and call('HGET', KEYS[4], ARGV[#ARGV - 2])
  local repeated_end = last and tonumber(string.match(last, '^%d+'))
  local length = call('LLEN', KEYS[3])
  if session.count < length then session.count = length end -- pushed by another program, uncounted
  for i = 1, n do
    local at = first + (i - 1) * 3
    local known = call('HGET', KEYS[4], ARGV[at])
    if known then
      local seq, fingerprint = string.match(known, '^(%d+):(.*)$')
      local stored = call('LINDEX', KEYS[3], seq - session.count - 1) or ARGV[at + 2]
      if fingerprint ~= ARGV[at + 1] and stored ~= ARGV[at + 2] then return {'CONFLICT', ARGV[at]} end
      answer[#answer + 1] = tonumber(seq)
      answer[#answer + 1] = stored
    elseif repeated_end and i <= forgotten then
      answer[#answer + 1] = repeated_end - (n - i)
      answer[#answer + 1] = ARGV[at + 2]
    else
      fresh[#fresh + 1] = at
      answer[#answer + 1] = session.count + #fresh
      answer[#answer + 1] = false
    end
  end
  return answer, fresh
end

local function push_messages(session, fresh, max_history)
  local length = 0
  for i, at in ipairs(fresh) do
    session.count = session.count + 1
    if i > #fresh - max_history then
      length = call('RPUSH', KEYS[3], ARGV[at + 2])
      call('HSET', KEYS[4], ARGV[at], digits(session.count) .. ':' .. ARGV[at + 1])
    end
  end
  if length > max_history then
    for _, element in ipairs(call('LPOP', KEYS[3], length - max_history)) do
      local id = string.match(element, '^{"id":"(.-)","from":')
      if id then call('HDEL', KEYS[4], id) end
    end
  end
end
