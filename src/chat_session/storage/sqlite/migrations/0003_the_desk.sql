-- The desk: who has a session, the queue, which operators are present, and what was counted. Moments are microseconds
-- since 2025. The columns beside "desk" repeat a part of it for the indexes; they are NULL where it does not apply.
ALTER TABLE sessions ADD COLUMN desk BLOB;              -- a JSON object, the same bytes as in Redis; NULL: never handled
ALTER TABLE sessions ADD COLUMN desk_epoch INTEGER;     -- the session's epoch after the last step
ALTER TABLE sessions ADD COLUMN desk_ttl INTEGER;       -- the ttl while people depend on the session
ALTER TABLE sessions ADD COLUMN desk_team TEXT;         -- while it waits; '' for no team
ALTER TABLE sessions ADD COLUMN desk_place INTEGER;     -- while it waits: the lowest is the first in the queue
ALTER TABLE sessions ADD COLUMN desk_operator TEXT;     -- who has it
ALTER TABLE sessions ADD COLUMN desk_presence INTEGER;  -- the generation of that operator's presence
ALTER TABLE sessions ADD COLUMN desk_sign INTEGER;      -- while it is assigned: the operator's last sign to the customer

-- Each holds only the sessions in question, and all that a count needs.
CREATE INDEX sessions_waiting ON sessions (desk_place, session_id, deadline) WHERE desk_place IS NOT NULL;
CREATE INDEX sessions_waiting_by_team ON sessions (desk_team, desk_place, session_id, deadline)
WHERE desk_place IS NOT NULL;
CREATE INDEX sessions_by_operator ON sessions (desk_operator, desk_presence, session_id, deadline)
WHERE desk_operator IS NOT NULL;
CREATE INDEX sessions_by_sign ON sessions (desk_sign, session_id) WHERE desk_sign IS NOT NULL;
-- Those whose agent or ttl was changed without the desk.
CREATE INDEX sessions_bypassed ON sessions (session_id) WHERE desk_epoch <> agent_epoch OR desk_ttl <> ttl;

CREATE TABLE operators (
    operator_id   TEXT PRIMARY KEY,
    generation    INTEGER NOT NULL,  -- when the presence began
    present_until INTEGER,           -- NULL: it has lapsed, and a sweep has met that
    capacity      INTEGER,           -- NULL: the default
    available     INTEGER NOT NULL,  -- 1 or 0
    seen_at       INTEGER            -- the last step; NULL: was only given a session
) STRICT, WITHOUT ROWID;

CREATE INDEX operators_by_presence ON operators (present_until) WHERE present_until IS NOT NULL;

CREATE TABLE desk_counts (
    bucket INTEGER NOT NULL,  -- five minutes, numbered since 2025
    name   TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (bucket, name)
) STRICT, WITHOUT ROWID;
