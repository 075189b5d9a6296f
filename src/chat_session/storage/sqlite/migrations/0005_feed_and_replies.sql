-- The feed: what tells one session from another of the same id, and what was trimmed. Streaming replies.
ALTER TABLE sessions ADD COLUMN incarnation TEXT;      -- random; NULL: created by an older release
ALTER TABLE sessions ADD COLUMN trimmed_seq INTEGER;   -- the last trimmed message that was not internal; NULL: none was

-- The last reply that was begun in a session. Its text is kept while it grows.
CREATE TABLE replies (
    session_id TEXT PRIMARY KEY NOT NULL,
    reply_id   TEXT NOT NULL,
    epoch      INTEGER NOT NULL,  -- the session's when it was begun
    state      TEXT NOT NULL,     -- growing, committed or aborted
    author     TEXT,
    reason     TEXT,              -- why it was aborted; while it grows: why it is over although its text is kept
    seq        INTEGER,           -- of the message, once it is committed
    deadline   INTEGER NOT NULL,  -- of the turn: milliseconds
    text       BLOB NOT NULL      -- UTF-8
) STRICT;

CREATE INDEX replies_growing ON replies (deadline) WHERE state = 'growing';

-- What is told to other processes and not kept, such as who types. Rows of more than 10 s ago are deleted.
CREATE TABLE news (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    news       BLOB NOT NULL,
    at         INTEGER NOT NULL   -- milliseconds
) STRICT;
