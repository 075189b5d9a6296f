-- ARGV has messages from `first` on, as id, fingerprint, element. This finds which of the n are known. For those the
-- answer has seq and stored element; for the fresh ones 0 and false until they are pushed.
-- A fingerprint is 16 characters for the content and, where the caller gave a timestamp, 8 for that. It is
-- the same content if the timestamps are equal, or one of the two was filled in.
-- READS history ids max_history bound first count call whole MAX_NUMBER
-- SETS  answer fresh n; max_history to the session's own bound; count where another program pushed uncounted
max_history = bound or max_history
local answer, fresh, n = {'OK'}, 0, math.floor((#ARGV - first + 1) / 3)
if count + n > MAX_NUMBER then return {'CORRUPT', 'messageCount'} end
local KNOWN = '^(%d+):(%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x)(%x*)$'
-- Of a batch longer than the history the first ids were forgotten at once; its end tells a repeat.
local last = n > max_history and call('HGET', ids, ARGV[#ARGV - 2])
local repeated_end = last and whole(string.match(last, '^%d+') or '')
for i = 1, n do
  local at = first + (i - 1) * 3
  local seq, stored = 0, false
  local known = call('HGET', ids, ARGV[at])
  if known then
    local digits, one, t = string.match(known, KNOWN)
    seq = digits and whole(digits)
    count = math.max(count, call('LLEN', history)) -- another program may have pushed, uncounted
    if not seq or seq < 1 or seq > count then return {'CORRUPT', 'ids'} end
    local other, u = string.sub(ARGV[at + 1], 1, 16), string.sub(ARGV[at + 1], 17)
    if one ~= other or (t ~= '' and u ~= '' and t ~= u) then return {'CONFLICT', ARGV[at]} end
    stored = call('LINDEX', history, seq - count - 1) or ARGV[at + 2]
  elseif repeated_end and n - i >= max_history and n - i < repeated_end then
    seq, stored = repeated_end - (n - i), ARGV[at + 2]
  else
    fresh = fresh + 1
  end
  answer[2 * i], answer[2 * i + 1] = seq, stored
end
