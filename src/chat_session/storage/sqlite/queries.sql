-- The queries of the embedded store. Python runs them by name: SQL["find_session"].
--
-- A session lives while its deadline is ahead of the clock. The columns that make up a session are selected in the
-- order in which decode_session reads them. A query with few parameters takes them in order, others take them by name.

-- name: insert_session
INSERT INTO sessions (session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch,
                      message_count, ttl, metadata, deadline, position)
VALUES (:session_id, :user_id, :created_at, :last_active_at, :current_agent, :agent_switched_at, :agent_epoch,
        :message_count, :ttl, :metadata, :deadline, :position);

-- name: find_newest_position
-- The last position that a user's sessions of one millisecond have taken.
SELECT max(position) FROM sessions WHERE user_id = ? AND position >= ? AND position < ?;

-- name: find_session
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata
FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: save_session
UPDATE sessions
SET last_active_at = :last_active_at, deadline = :deadline, message_count = :message_count,
    current_agent = :current_agent, agent_epoch = :agent_epoch, agent_switched_at = :agent_switched_at
WHERE session_id = :session_id;

-- name: save_metadata
UPDATE sessions SET metadata = ? WHERE session_id = ?;

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

-- name: trim_history
DELETE FROM messages WHERE session_id = ? AND seq <= ?;

-- name: delete_messages
-- The session id may be text, or bytes as delete_dead_sessions returns it.
DELETE FROM messages WHERE session_id = CAST(? AS TEXT);


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
       ttl, metadata, position
FROM sessions
WHERE user_id = :user_id AND deadline > :now AND (position, session_id) < (:position, :session_id)
ORDER BY position DESC, session_id DESC LIMIT :limit;

-- name: list_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata
FROM sessions WHERE session_id > ? AND deadline > ? ORDER BY session_id LIMIT ?;


-- name: read_all_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata
FROM sessions ORDER BY session_id;

-- name: read_all_messages
SELECT session_id, seq, element FROM messages;

-- name: count_orphans
-- Orphans are messages without a session.
SELECT count(*) FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);

-- name: delete_orphans
DELETE FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);
