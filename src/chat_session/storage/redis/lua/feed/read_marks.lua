-- read_marks: a mark of each of many sessions, which is another one when anything has changed that a feed tells.
-- KEYS  sessions...
--       of each its meta, history and draft
-- ARGV
-- REPLY OK (mark)...
--       mark: empty if there is no session
local marks = {}
for i = 1, #KEYS, 3 do
  local fields = redis.pcall('HGETALL', KEYS[i])
  local length = redis.pcall('LLEN', KEYS[i + 1])
  local mark = ''
  if fields.err or type(length) ~= 'number' then
    mark = 'damaged'
  elseif #fields > 0 then
    local state = ''
    for at = 1, #fields, 2 do
      if fields[at] == 'cs:draft' and string.find(fields[at + 1], '^%S+ %d+ growing') then
        local size = redis.pcall('STRLEN', KEYS[i + 2])
        state = type(size) == 'number' and size .. ' ' .. redis.call('EXISTS', KEYS[i + 2]) or 'damaged'
      end
    end
    fields[#fields + 1], fields[#fields + 2] = tostring(length), state
    mark = string.sub(redis.sha1hex(table.concat(fields, '\n')), 1, 16)
  end
  marks[#marks + 1] = mark
end
return {'OK', marks}
