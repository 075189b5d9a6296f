-- Changes of a history that are not appends, a bound of each session, and the state of users and applications.
ALTER TABLE sessions ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN max_history INTEGER;                 -- NULL: that of the settings
ALTER TABLE sessions ADD COLUMN edits TEXT NOT NULL DEFAULT '';      -- the last 64 changes, as in Redis

CREATE TABLE state (
    scope TEXT NOT NULL,  -- user:<id> or app:<name>
    name  TEXT NOT NULL,
    value BLOB NOT NULL,  -- JSON
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
