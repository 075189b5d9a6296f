-- A deadline is in milliseconds of this host's clock. The times that end in _at are ISO 8601 text, as in Redis.
CREATE TABLE sessions (
    session_id        TEXT PRIMARY KEY,
    user_id           TEXT NOT NULL,
    created_at        TEXT NOT NULL,
    last_active_at    TEXT NOT NULL,
    current_agent     TEXT NOT NULL,
    agent_switched_at TEXT,
    agent_epoch       INTEGER NOT NULL,
    message_count     INTEGER NOT NULL,
    ttl               INTEGER,           -- seconds, NULL: never expires
    deadline          INTEGER NOT NULL,  -- the largest integer: never
    metadata          BLOB NOT NULL,     -- a JSON object
    position          INTEGER NOT NULL   -- in the user's list: microseconds of the creation, later ones have more
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_deadline ON sessions (deadline);
CREATE INDEX sessions_by_user ON sessions (user_id, position, session_id);

CREATE TABLE messages (
    session_id  TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    id          BLOB NOT NULL,   -- as it stands in the element
    fingerprint BLOB NOT NULL,
    element     BLOB NOT NULL,   -- the message's JSON, the same bytes as in Redis
    PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX messages_by_id ON messages (session_id, id);
