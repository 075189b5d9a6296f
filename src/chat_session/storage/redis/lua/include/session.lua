-- Reads what every write of a session needs: its ttl, epoch, count of messages, agent, and the tokens of
-- the calls that began its last epochs. Ends the script where there is no session, or a number is none.
local function whole(text)
  local number = tonumber(text)
  if number and number % 1 == 0 and number >= -1 and number <= 9007199254740991 then return number end
end

local found = call('HMGET', KEYS[1], 'userId', 'ttl', 'agentEpoch', 'messageCount', 'currentAgent', 'epochTokens')
if not found[1] then return {'GONE'} end
local ttl, epoch = whole(found[2] or default_ttl), whole(found[3] or 0)
local count = whole(found[4] or call('LLEN', KEYS[3]))
local current, tokens = found[5] or 'ai', found[6] or ''
if not ttl or ttl == 0 then return {'CORRUPT', 'ttl'} end
if not epoch then return {'CORRUPT', 'agentEpoch'} end
if not count then return {'CORRUPT', 'messageCount'} end
