-- The last streaming reply of a session is in cs:draft as "id epoch growing author", "id committed seq" or
-- "id aborted reason"; the author is JSON, or left out. While it grows its text is in a string of its own, whose
-- deadline is that of the turn. It is over, too, if its epoch is not the session's, or if the string is gone.
-- READS meta draft call
-- SETS  read_reply abandon find_draft_deadline

-- Its id and state, and its epoch while it grows, else its seq or the reason.
local function read_reply(text)
  local id, second, third = string.match(text or '', '^(%S+) (%S+) (%S+)')
  if third == 'growing' then return id, third, second end
  return id, second, third
end

-- Ends the reply without a message, if it grows; whether it did. With `keeps_text` what was shown of it stays until the
-- deadline, so that its worker can append that.
local function abandon(text, current_epoch, reason, keeps_text)
  local id, state, of = read_reply(text)
  if state ~= 'growing' then return false end
  if of ~= current_epoch then reason = 'taken_over' end
  if not keeps_text then call('UNLINK', draft) end -- first: with it a server that is full lets the rest pass
  call('HSET', meta, 'cs:draft', id .. ' aborted ' .. reason)
  return true
end

-- When the string is to go, so that it is gone in the millisecond in which the turn is over: a server removes a key only
-- after its deadline.
local function find_draft_deadline(turn_deadline) return string.format('%.0f', turn_deadline - 1) end
