-- What the scripts of streaming replies need to know: the epoch, and the fields of the turn and of the last reply. Ends
-- the script where there is no session.
-- READS meta call whole
-- SETS  epoch held reply
local fields = call('HMGET', meta, 'userId', 'agentEpoch', 'cs:turn', 'cs:draft')
if not fields[1] then return {'GONE'} end
local epoch, held, reply = whole(fields[2] or '0'), fields[3] or '', fields[4]
if not epoch then return {'CORRUPT', 'agentEpoch'} end
