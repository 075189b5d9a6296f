-- Notes that a message was trimmed, if the customer could not see it: cs:trimmed has the first and the last number of
-- the newest run of such messages. If its last is the newest of all that were trimmed, the one before the run is the
-- newest that the customer could see. A session without internal messages pays nothing.
-- READS meta call trimmed_seq trimmed_element
-- SETS  nothing
if string.find(trimmed_element, ',"internal":true', -36, true) then -- may be such a message
  local is_retracted = string.sub(trimmed_element, -36) == ',"internal":true,"type":"retracted"}'
  if is_retracted or string.sub(trimmed_element, -17) == ',"internal":true}' then
    local from, to = string.match(call('HGET', meta, 'cs:trimmed') or '', '^(%d+)-(%d+)$')
    if not to or tonumber(to) ~= trimmed_seq - 1 then from = string.format('%.0f', trimmed_seq) end
    call('HSET', meta, 'cs:trimmed', string.format('%s-%.0f', from, trimmed_seq))
  end
end
