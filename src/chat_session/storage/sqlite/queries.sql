-- The queries of the embedded store. Python runs them by name: SQL["find_session"].
--
-- A session lives while its deadline is ahead of the clock. The columns that make up a session are selected in the
-- order in which decode_session reads them. A query with few parameters takes them in order, others take them by name.

-- name: insert_session
INSERT INTO sessions (session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch,
                      message_count, ttl, metadata, revision, max_history, deadline, position)
VALUES (:session_id, :user_id, :created_at, :last_active_at, :current_agent, :agent_switched_at, :agent_epoch,
        :message_count, :ttl, :metadata, :revision, :max_history, :deadline, :position);

-- name: find_newest_position
-- The last position that a user's sessions of one millisecond have taken.
SELECT max(position) FROM sessions WHERE user_id = ? AND position >= ? AND position < ?;

-- name: find_session
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history
FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: save_session
UPDATE sessions
SET last_active_at = :last_active_at, deadline = :deadline, message_count = :message_count,
    current_agent = :current_agent, agent_epoch = :agent_epoch, agent_switched_at = :agent_switched_at
WHERE session_id = :session_id;

-- name: save_metadata
UPDATE sessions SET metadata = ? WHERE session_id = ?;

-- name: save_owner
UPDATE sessions SET user_id = ?, position = ? WHERE session_id = ?;

-- name: find_edits
SELECT edits FROM sessions WHERE session_id = ?;

-- name: save_edits
UPDATE sessions SET revision = ?, edits = ? WHERE session_id = ?;

-- name: delete_session
DELETE FROM sessions WHERE session_id = ?;


-- name: insert_message
INSERT INTO messages (session_id, seq, id, fingerprint, element) VALUES (?, ?, ?, ?, ?);

-- name: find_message
SELECT seq, fingerprint, element FROM messages WHERE session_id = ? AND id = ?;

-- name: history_forwards
SELECT seq, element FROM messages WHERE session_id = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?;

-- name: history_backwards
SELECT seq, element FROM messages WHERE session_id = ? AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ?;

-- name: find_newest
SELECT seq, element FROM messages WHERE session_id = ? ORDER BY seq DESC;

-- name: count_messages
-- Those that are not tombstones: a tombstone is known by its last bytes.
SELECT count(*) FROM messages WHERE session_id = ? AND substr(element, -20) <> CAST(',"type":"retracted"}' AS BLOB);

-- name: replace_element
UPDATE messages SET element = ? WHERE session_id = ? AND seq = ?;

-- name: trim_history
DELETE FROM messages WHERE session_id = ? AND seq <= ?;

-- name: delete_messages
-- The session id may be text, or bytes as delete_dead_sessions returns it.
DELETE FROM messages WHERE session_id = CAST(? AS TEXT);


-- name: read_state
SELECT name, value FROM state WHERE scope = ?;

-- name: save_state
INSERT INTO state (scope, name, value) VALUES (?, ?, ?) ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value;

-- name: delete_state_entry
DELETE FROM state WHERE scope = ? AND name = ?;

-- name: delete_state
DELETE FROM state WHERE scope = ?;


-- name: find_deadline
SELECT deadline FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: save_deadline
UPDATE sessions SET deadline = ? WHERE session_id = ?;

-- name: save_ttl
UPDATE sessions SET ttl = ?, deadline = ? WHERE session_id = ?;

-- name: count_living_sessions
SELECT count(*) FROM sessions WHERE deadline > ?;

-- name: count_dead_sessions
SELECT count(*) FROM sessions WHERE deadline <= ?;

-- name: delete_dead_sessions
DELETE FROM sessions
WHERE session_id IN (SELECT session_id FROM sessions WHERE deadline <= ? LIMIT ?)
RETURNING session_id;


-- name: list_user_sessions
-- The newest first. The page before ended with the session at :position, :session_id.
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history, position
FROM sessions
WHERE user_id = :user_id AND deadline > :now AND (position, session_id) < (:position, :session_id)
ORDER BY position DESC, session_id DESC LIMIT :limit;

-- name: list_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history
FROM sessions WHERE session_id > ? AND deadline > ? ORDER BY session_id LIMIT ?;


-- name: read_all_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history
FROM sessions ORDER BY session_id;

-- name: read_all_messages
SELECT session_id, seq, element FROM messages;

-- name: count_orphans
-- Orphans are messages without a session.
SELECT count(*) FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);

-- name: delete_orphans
DELETE FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);
