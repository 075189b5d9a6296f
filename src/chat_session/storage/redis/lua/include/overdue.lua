-- A claim that does not end within its lease has crashed: the entry goes back to its place, without the seat.
-- READS call leases now_ms read_entry end_lease put
-- SETS  end_overdue_leases
local function end_overdue_leases(limit)
  for _, session in ipairs(call('ZRANGEBYSCORE', leases, '-inf', now_ms, 'LIMIT', 0, limit)) do
    local entry = read_entry(session)
    end_lease(session)
    if entry then put(session, entry) end
  end
end
