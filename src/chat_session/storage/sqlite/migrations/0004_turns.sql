-- Turns: one worker at a time answers a session.
ALTER TABLE sessions ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;         -- 1: workers find it by pending_turns
ALTER TABLE sessions ADD COLUMN customer_seq INTEGER NOT NULL DEFAULT 0;  -- of the customer's newest message
ALTER TABLE sessions ADD COLUMN customer_at INTEGER;                      -- when it came: milliseconds
ALTER TABLE sessions ADD COLUMN answered_seq INTEGER;                     -- all up to it is answered; NULL: nothing ever was
ALTER TABLE sessions ADD COLUMN turn_token TEXT;
ALTER TABLE sessions ADD COLUMN turn_deadline INTEGER NOT NULL DEFAULT 0; -- milliseconds; 0: it is over
ALTER TABLE sessions ADD COLUMN turn_epoch INTEGER;                       -- the session's epoch when it was taken
ALTER TABLE sessions ADD COLUMN turn_end TEXT;                            -- released or stopped

-- Those that may wait for a worker, who has waited longest first.
CREATE INDEX sessions_pending ON sessions (customer_at, session_id)
WHERE turns = 1 AND customer_seq > ifnull(answered_seq, 0);
