-- What a worker needs to know of a session: epoch, agent, the newest customer message, up to which all is answered (if
-- nothing ever was: nil, or 0 where workers find the session), the newest sequence number that was given out, whether
-- workers find it, and the field of its last streaming reply. Ends the script where there is no session.
-- READS meta history call whole
-- SETS  epoch current customer answered last_seq in_turns reply
local state = call('HMGET', meta, 'userId', 'agentEpoch', 'currentAgent', 'messageCount', 'cs:customer', 'cs:answered',
  'cs:turns', 'cs:draft')
if not state[1] then return {'GONE'} end
local epoch, current = whole(state[2] or '0'), state[3] or 'ai'
local last_seq, customer, answered = whole(state[4] or '0'), whole(state[5] or '0'), state[6] and whole(state[6])
local in_turns, reply = state[7] and true or false, state[8]
if in_turns and not state[6] then answered = 0 end -- it is in turns since its creation, so nobody answered otherwise
if not epoch then return {'CORRUPT', 'agentEpoch'} end
if not last_seq then return {'CORRUPT', 'messageCount'} end
if not customer then return {'CORRUPT', 'cs:customer'} end
if state[6] and not answered then return {'CORRUPT', 'cs:answered'} end
last_seq = math.max(last_seq, call('LLEN', history)) -- another program may have pushed, uncounted
