-- Reads what every write of a session needs: its ttl, epoch, count of messages, agent, the tokens of its last calls,
-- and its own bound, nil for that of the settings. Ends the script where there is no session, or a field is damaged.
-- A number is digits and nothing else, as in codec.py: tonumber would read nan, 0x10 and 1e3 as well.
-- READS meta history default_ttl call
-- SETS  MAX_NUMBER whole found ttl epoch count current done bound
local MAX_NUMBER = 9007199254740991
local function whole(text)
  local number = #text <= 16 and string.find(text, '^%d+$') and tonumber(text)
  if number and number <= MAX_NUMBER then return number end
end

local found = call('HMGET', meta, 'userId', 'ttl', 'agentEpoch', 'messageCount', 'currentAgent', 'cs:done',
  'cs:maxHistory', 'cs:turns')
if not found[1] then return {'GONE'} end
local ttl = found[2] or default_ttl
if ttl == '-1' then ttl = -1 else ttl = whole(ttl) end
local epoch, count = whole(found[3] or '0'), not found[4] and call('LLEN', history) or whole(found[4])
local current, done, bound = found[5] or 'ai', found[6] or '', found[7] and whole(found[7])
if not ttl or ttl == 0 or ttl > 315360000 then return {'CORRUPT', 'ttl'} end
if not epoch then return {'CORRUPT', 'agentEpoch'} end
if not count then return {'CORRUPT', 'messageCount'} end
if bound == 0 or (found[7] and not bound) then return {'CORRUPT', 'cs:maxHistory'} end
if current ~= 'ai' and current ~= 'human' then return {'CORRUPT', 'currentAgent'} end
