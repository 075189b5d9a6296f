-- list_seats: sessions that operators have, in the order of the operators' names, with their entries.
-- KEYS  entries | seats
-- ARGV  lowest | highest | limit
-- REPLY OK (member entry?)...
local entries, seats = KEYS[1], KEYS[2]
local lowest, highest, limit = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('ZRANGEBYLEX', seats, lowest, highest, 'LIMIT', 0, limit)
local listed = {}
for i, member in ipairs(found) do
  listed[2 * i - 1] = member
  listed[2 * i] = redis.call('HGET', entries, string.match(member, '\n(.*)$') or '')
end
return {'OK', listed}
