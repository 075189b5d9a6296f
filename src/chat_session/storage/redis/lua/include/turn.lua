-- The turn of a session is in cs:turn as "token deadline epoch"; of one that is over "token 0 released" or
-- "token 0 stopped". Behind a turn there may be the token of the one before, which was released: a repeated release is
-- known by it. `text` is the field, if it was read already.
-- READS meta call read_clock whole
-- SETS  read_turn write_turn find_loss
local function read_turn(text)
  text = text or call('HGET', meta, 'cs:turn') or ''
  local holder, deadline, of, before = string.match(text, '^(%S+) (%d+) (%S+) ?(%S*)$')
  return holder, whole(deadline or '') or 0, of, before
end

local function write_turn(token, deadline, current_epoch, before)
  local text = string.format('%s %.0f %d', token, deadline, current_epoch)
  call('HSET', meta, 'cs:turn', (before or '') == '' and text or text .. ' ' .. before)
end

-- Why the turn of this token is lost, nil if it is not.
local function find_loss(token, current_epoch, text)
  local holder, deadline, of = read_turn(text)
  if holder ~= token then return 'expired' end
  if of == 'stopped' then return 'stopped' end
  if of ~= string.format('%d', current_epoch) then return 'taken_over' end
  if deadline <= read_clock() then return 'expired' end
end
