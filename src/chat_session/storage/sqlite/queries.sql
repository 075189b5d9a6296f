-- The queries of the embedded store. Python runs them by name: SQL["find_session"].
--
-- A session lives while its deadline is ahead of the clock. The columns that make up a session are selected in the
-- order in which decode_session reads them. A query with few parameters takes them in order, others take them by name.

-- name: insert_session
INSERT INTO sessions (session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch,
                      message_count, ttl, metadata, revision, max_history, turns, deadline, position, incarnation)
VALUES (:session_id, :user_id, :created_at, :last_active_at, :current_agent, :agent_switched_at, :agent_epoch,
        :message_count, :ttl, :metadata, :revision, :max_history, :turns, :deadline, :position, :incarnation);

-- name: find_newest_position
-- The last position that a user's sessions of one millisecond have taken.
SELECT max(position) FROM sessions WHERE user_id = ? AND position >= ? AND position < ?;

-- name: find_session
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history, desk, turns
FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: save_session
UPDATE sessions
SET last_active_at = :last_active_at, message_count = :message_count, current_agent = :current_agent,
    agent_epoch = :agent_epoch, agent_switched_at = :agent_switched_at,
    deadline = CASE WHEN ttl IS NULL THEN 9223372036854775807 ELSE :now + ttl * 1000 END
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
-- The numbers of those that are deleted, and their last bytes, which say whether they are internal.
DELETE FROM messages WHERE session_id = ? AND seq <= ? RETURNING seq, substr(element, -36);

-- name: save_trimmed
-- Only for a session that has lost internal messages: without them the number follows from the oldest that is kept.
UPDATE sessions SET trimmed_seq = ? WHERE session_id = ? AND trimmed_seq IS NOT NULL;

-- name: begin_trimmed
-- As save_trimmed, for one that loses internal messages now. :before: the last number that was trimmed before.
UPDATE sessions SET trimmed_seq = max(ifnull(trimmed_seq, :before), :seq) WHERE session_id = :session_id;

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

-- name: slide_deadline
UPDATE sessions SET deadline = CASE WHEN ttl IS NULL THEN 9223372036854775807 ELSE ? + ttl * 1000 END
WHERE session_id = ?;

-- name: save_ttl
UPDATE sessions SET ttl = ? WHERE session_id = ?;

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
       ttl, metadata, revision, max_history, desk, turns, position
FROM sessions
WHERE user_id = :user_id AND deadline > :now AND (position, session_id) < (:position, :session_id)
ORDER BY position DESC, session_id DESC LIMIT :limit;

-- name: list_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history, desk, turns
FROM sessions WHERE session_id > ? AND deadline > ? ORDER BY session_id LIMIT ?;


-- name: read_all_sessions
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history, desk, turns
FROM sessions ORDER BY session_id;

-- name: read_all_messages
SELECT session_id, seq, element FROM messages;

-- name: count_orphans
-- Orphans are messages without a session.
SELECT count(*) FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);

-- name: delete_orphans
DELETE FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions);


-- name: save_desk
UPDATE sessions
SET desk = :desk, desk_epoch = :epoch, desk_ttl = :desk_ttl, desk_team = :team, desk_place = :place,
    desk_operator = :operator, desk_presence = :presence, desk_sign = :sign, ttl = :ttl
WHERE session_id = :session_id;

-- name: save_sign
UPDATE sessions SET desk_sign = ? WHERE session_id = ?;

-- name: find_first_waiting
-- Of all teams, after the given place. The session id may be text or bytes, as in list_waiting and the next query.
SELECT desk_place, session_id FROM sessions
WHERE desk_place IS NOT NULL AND deadline > :now AND (desk_place, session_id) > (:place, CAST(:session_id AS TEXT))
ORDER BY desk_place, session_id LIMIT 1;

-- name: find_first_waiting_in_team
SELECT desk_place, session_id FROM sessions
WHERE desk_place IS NOT NULL AND desk_team = :team AND deadline > :now
      AND (desk_place, session_id) > (:place, CAST(:session_id AS TEXT))
ORDER BY desk_place, session_id LIMIT 1;

-- name: find_longest_waiting
-- Of one priority, whose places are from :first to below :end.
SELECT desk_place FROM sessions
WHERE desk_place IS NOT NULL AND desk_place >= :first AND desk_place < :end AND deadline > :now
ORDER BY desk_place LIMIT 1;

-- name: count_before
-- Those of the same team that come before a place in the queue.
SELECT count(*) FROM sessions
WHERE desk_place IS NOT NULL AND desk_team = :team AND deadline > :now AND (desk_place, session_id) < (:place, :session_id);

-- name: count_waiting
SELECT desk_team, count(*) FROM sessions WHERE desk_place IS NOT NULL AND deadline > ? GROUP BY desk_team;

-- name: list_waiting
SELECT session_id, current_agent, agent_epoch, agent_switched_at, desk, desk_place FROM sessions
WHERE desk_place IS NOT NULL AND deadline > :now AND (desk_place, session_id) > (:place, :session_id)
ORDER BY desk_place, session_id LIMIT :limit;

-- name: list_waiting_in_team
SELECT session_id, current_agent, agent_epoch, agent_switched_at, desk, desk_place FROM sessions
WHERE desk_place IS NOT NULL AND desk_team = :team AND deadline > :now
      AND (desk_place, session_id) > (:place, :session_id)
ORDER BY desk_place, session_id LIMIT :limit;

-- name: list_assigned
SELECT session_id, current_agent, agent_epoch, agent_switched_at, desk FROM sessions INDEXED BY sessions_by_operator
WHERE desk_operator IS NOT NULL AND deadline > ?;

-- name: list_assigned_to
SELECT session_id, current_agent, agent_epoch, agent_switched_at, desk FROM sessions
WHERE desk_operator = ? AND deadline > ?;

-- name: count_assigned
SELECT count(*) FROM sessions WHERE desk_operator IS NOT NULL AND deadline > ?;

-- name: count_assigned_to
SELECT count(*) FROM sessions WHERE desk_operator = ? AND deadline > ?;


-- name: find_operator
SELECT generation, present_until, capacity, available, seen_at FROM operators WHERE operator_id = ?;

-- name: save_operator
INSERT INTO operators (operator_id, generation, present_until, capacity, available, seen_at)
VALUES (:operator_id, :generation, :present_until, :capacity, :available, :seen_at)
ON CONFLICT (operator_id) DO UPDATE
SET generation = :generation, present_until = :present_until, capacity = :capacity, available = :available,
    seen_at = :seen_at;

-- name: insert_absent_operator
INSERT INTO operators (operator_id, generation, available) VALUES (?, 0, 1) ON CONFLICT (operator_id) DO NOTHING;

-- name: list_operators
SELECT operator_id, present_until, capacity, available, seen_at,
       (SELECT count(*) FROM sessions WHERE desk_operator = operator_id AND deadline > ?)
FROM operators INDEXED BY operators_by_presence WHERE present_until IS NOT NULL ORDER BY operator_id;

-- name: mark_lapses
-- Whether each operator whose presence lapsed had sessions.
UPDATE operators SET present_until = NULL WHERE present_until <= :moment
RETURNING EXISTS (SELECT 1 FROM sessions WHERE desk_operator = operator_id AND deadline > :now);

-- name: list_left_sessions
-- Those whose operator is away, or has been away since the session was taken. :operator and :session_id: of the last
-- one that was read, as bytes or text.
SELECT operator_id, session_id, desk_presence
FROM operators CROSS JOIN sessions INDEXED BY sessions_by_operator
WHERE operator_id >= CAST(:operator AS TEXT) AND desk_operator = operator_id
      AND desk_presence < CASE WHEN present_until IS NULL THEN 9223372036854775807 ELSE generation END
      AND (operator_id, session_id) > (CAST(:operator AS TEXT), CAST(:session_id AS TEXT))
ORDER BY operator_id, session_id LIMIT :limit;

-- name: list_silent_sessions
-- Those whose operator has given no sign since :until, after the given sign and session.
SELECT desk_sign, session_id FROM sessions
WHERE desk_sign IS NOT NULL AND desk_sign <= :until AND (desk_sign, session_id) > (:sign, CAST(:session_id AS TEXT))
ORDER BY desk_sign, session_id LIMIT :limit;

-- name: list_bypassed_sessions
SELECT session_id FROM sessions INDEXED BY sessions_bypassed
WHERE (desk_epoch <> agent_epoch OR desk_ttl <> ttl) AND session_id > CAST(? AS TEXT)
ORDER BY session_id LIMIT ?;

-- name: delete_old_operators
-- Those who were last seen before a moment and have no sessions.
DELETE FROM operators
WHERE present_until IS NULL AND coalesce(seen_at, generation) < ?
      AND NOT EXISTS (SELECT 1 FROM sessions WHERE desk_operator = operator_id);


-- name: add_count
INSERT INTO desk_counts (bucket, name, count) VALUES (?, ?, ?)
ON CONFLICT (bucket, name) DO UPDATE SET count = count + excluded.count;

-- name: read_counts
SELECT bucket, name, count FROM desk_counts WHERE bucket >= ?;

-- name: delete_old_counts
DELETE FROM desk_counts WHERE bucket < ?;


-- name: mark_customer
-- One that waits already has waited since its first unanswered message.
UPDATE sessions
SET customer_at = CASE WHEN customer_seq > ifnull(answered_seq, 0) THEN customer_at ELSE :now END, customer_seq = :seq
WHERE session_id = :session_id;

-- name: save_answered
UPDATE sessions SET answered_seq = max(ifnull(answered_seq, 0), ?) WHERE session_id = ?;

-- name: find_turn
-- One that workers find is in turns since its creation, so nobody answered otherwise.
SELECT agent_epoch, current_agent, customer_seq, CASE turns WHEN 1 THEN ifnull(answered_seq, 0) ELSE answered_seq END,
       message_count, turn_token, turn_deadline, turn_epoch, turn_end
FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: hold_turn
UPDATE sessions SET turn_token = ?, turn_deadline = ?, turn_epoch = ?, turn_end = NULL WHERE session_id = ?;

-- name: end_turn
UPDATE sessions SET turn_deadline = 0, turn_end = ? WHERE session_id = ?;

-- name: list_pending_turns
-- The index holds those that have something unanswered.
SELECT session_id FROM sessions
WHERE turns = 1 AND customer_seq > ifnull(answered_seq, 0) AND deadline > :now AND current_agent = 'ai'
  AND (turn_deadline <= :now OR turn_epoch <> agent_epoch)
ORDER BY customer_at, session_id LIMIT :limit;


-- name: observe_session
-- As find_session, and what only a feed needs.
SELECT session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, message_count,
       ttl, metadata, revision, max_history, desk, turns, deadline, incarnation, trimmed_seq, edits
FROM sessions WHERE session_id = ? AND deadline > ?;

-- name: find_first
SELECT min(seq) FROM messages WHERE session_id = ?;

-- name: find_element
SELECT element FROM messages WHERE session_id = ? AND seq = ?;

-- name: history_behind
SELECT seq, element FROM messages WHERE session_id = ? AND seq > ? ORDER BY seq;

-- name: read_marks
-- Of each session that lives: its id, and all that a feed tells. :session_ids: a JSON array.
SELECT sessions.session_id, user_id, created_at, incarnation, current_agent, agent_epoch, agent_switched_at,
       message_count, ttl, metadata, revision, max_history, desk, turns, reply_id, state, reason, length(text),
       state = 'growing' AND epoch = agent_epoch AND replies.deadline > :now
FROM json_each(:session_ids)
     CROSS JOIN sessions ON sessions.session_id = json_each.value
     LEFT JOIN replies ON replies.session_id = sessions.session_id
WHERE sessions.deadline > :now;

-- name: insert_news
INSERT INTO news (session_id, news, at) VALUES (?, ?, ?);

-- name: delete_old_news
DELETE FROM news WHERE at < ?;

-- name: read_news
SELECT id, session_id, news FROM news WHERE id > ? AND at >= ? ORDER BY id;

-- name: note_new_session
-- With the next five a connection tells its process which sessions it changes. As bytes: an id may be damaged.
CREATE TEMP TRIGGER note_new_session AFTER INSERT ON main.sessions
BEGIN SELECT note_change(CAST(new.session_id AS BLOB)); END;

-- name: note_session
CREATE TEMP TRIGGER note_session AFTER UPDATE ON main.sessions
BEGIN SELECT note_change(CAST(new.session_id AS BLOB)); END;

-- name: note_no_session
CREATE TEMP TRIGGER note_no_session AFTER DELETE ON main.sessions
BEGIN SELECT note_change(CAST(old.session_id AS BLOB)); END;

-- name: note_new_reply
CREATE TEMP TRIGGER note_new_reply AFTER INSERT ON main.replies
BEGIN SELECT note_change(CAST(new.session_id AS BLOB)); END;

-- name: note_reply
CREATE TEMP TRIGGER note_reply AFTER UPDATE ON main.replies
BEGIN SELECT note_change(CAST(new.session_id AS BLOB)); END;

-- name: note_news
CREATE TEMP TRIGGER note_news AFTER INSERT ON main.news
BEGIN SELECT note_change(CAST(new.session_id AS BLOB)); END;


-- name: find_reply
SELECT reply_id, epoch, state, author, reason, seq, deadline, length(text) FROM replies WHERE session_id = ?;

-- name: find_reply_text
-- From the given byte on, counted from 1, at most so many.
SELECT substr(text, ?, ?) FROM replies WHERE session_id = ?;

-- name: begin_reply
INSERT INTO replies (session_id, reply_id, epoch, state, author, deadline, text)
VALUES (:session_id, :reply_id, :epoch, 'growing', :author, :deadline, x'')
ON CONFLICT (session_id) DO UPDATE
SET reply_id = :reply_id, epoch = :epoch, state = 'growing', author = :author, reason = NULL, seq = NULL,
    deadline = :deadline, text = x'';

-- name: write_reply
-- What is joined is a text for SQLite, whatever its bytes are.
UPDATE replies SET text = CAST(text || ? AS BLOB) WHERE session_id = ?;

-- name: move_reply
UPDATE replies SET deadline = ? WHERE session_id = ? AND state = 'growing' AND reason IS NULL;

-- name: commit_reply
UPDATE replies SET state = 'committed', seq = ?, text = x''
WHERE session_id = ? AND state = 'growing' AND reason IS NULL;

-- name: stop_reply
-- Its text stays until the deadline, so that its worker can append what was shown.
UPDATE replies SET reason = 'stopped' WHERE session_id = ? AND state = 'growing' AND reason IS NULL;

-- name: abort_reply
UPDATE replies SET state = 'aborted', reason = ?, text = x'' WHERE session_id = ?;

-- name: empty_lapsed_replies
UPDATE replies SET text = x'' WHERE state = 'growing' AND deadline <= ? AND text <> x'';

-- name: delete_reply
-- The session id may be text, or bytes as delete_dead_sessions returns it.
DELETE FROM replies WHERE session_id = CAST(? AS TEXT);
