"""What happens, as records of the standard library's logger "chat_session".

Each record has ``action``, and ``session_id``, ``outcome``, ``duration_ms`` and the like where they
apply: stable names to filter by. Calls are DEBUG, cleanup, lapses and lost turns INFO, retries and damage WARNING.
"""

import logging
from collections.abc import Sequence

from chat_session.message import Sender
from chat_session.telemetry.hooks import Hooks

_log = logging.getLogger("chat_session")

_REMEMBERED = 10_000  # sessions of which something is said once


class LoggingHooks(Hooks):
    """The default of every manager; silent where logging is not configured. ``store``: its printable address."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._up: bool | None = None
        self._cut: dict[str, None] = {}  # the sessions of which it was said

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            facts = {"session_id": session_id, "outcome": outcome, "duration_ms": round(seconds * 1000, 3)}
            _log.debug("%s %s", name, outcome, extra={"action": name, **facts})

    def appended(self, session_id: str, senders: Sequence[Sender]) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            facts = {"session_id": session_id, "count": len(senders)}
            _log.debug("%d messages were appended.", len(senders), extra={"action": "appended", **facts})

    def changed(self, session_id: str, change: str, count: int) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            facts = {"session_id": session_id, "change": change, "count": count}
            _log.debug("%d messages were %s.", count, change, extra={"action": "changed", **facts})

    def handed(self, session_id: str, event: str) -> None:
        facts = {"action": "handed", "session_id": session_id, "event": event}
        if event == "lapsed":
            _log.info("The operator of session %s is away, and the session waits again.", session_id, extra=facts)
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("The desk made a step on session %s: %s.", session_id, event, extra=facts)

    def turn_begun(self, session_id: str) -> None:
        _log.debug("A turn on session %s began.", session_id, extra={"action": "turn_begun", "session_id": session_id})

    def turn_busy(self, session_id: str) -> None:
        facts = {"action": "turn_busy", "session_id": session_id}
        _log.debug("Another worker has the turn on session %s.", session_id, extra=facts)

    def turn_lost(self, session_id: str, reason: str) -> None:
        facts = {"action": "turn_lost", "session_id": session_id, "reason": reason}
        _log.info("The turn on session %s is lost: %s.", session_id, reason, extra=facts)

    def feed_gap(self, session_id: str, count: int) -> None:
        facts = {"action": "feed_gap", "session_id": session_id, "count": count}
        _log.info("A watcher of session %s missed %d messages that were trimmed.", session_id, count, extra=facts)

    def feed_reset(self, session_id: str, reason: str) -> None:
        facts = {"action": "feed_reset", "session_id": session_id, "reason": reason}
        _log.info("A watcher of session %s begins again: %s.", session_id, reason, extra=facts)

    def reply_begun(self, session_id: str) -> None:
        facts = {"action": "reply_begun", "session_id": session_id}
        _log.debug("A reply in session %s begins to grow.", session_id, extra=facts)

    def reply_ended(self, session_id: str, outcome: str) -> None:
        facts = {"action": "reply_ended", "session_id": session_id, "outcome": outcome}
        _log.debug("A reply in session %s ended: %s.", session_id, outcome, extra=facts)

    def group_cut(self, session_id: str) -> None:
        if session_id in self._cut:
            return
        self._cut[session_id] = None
        if len(self._cut) > _REMEMBERED:
            del self._cut[next(iter(self._cut))]
        _log.warning(
            "In session %s a tool call and its answers are more messages than the history keeps, so the model is "
            "not given them. Raise MAX_MESSAGE_HISTORY, or the session's max_history.",
            session_id,
            extra={"action": "group_cut", "session_id": session_id},
        )

    def retried(self, name: str, attempt: int, reason: str) -> None:
        facts = {"action": "retried", "operation": name, "attempt": attempt, "reason": reason}
        _log.warning("The call %s failed (%s). This is attempt %d.", name, reason, attempt, extra=facts)

    def queue_full(self, address: str) -> None:
        _log.debug(
            "A call to %s waits, because many calls wait for that server already.",
            address,
            extra={"action": "queue_full", "server": address},
        )

    def damaged(self, session_id: str, count: int) -> None:
        facts = {"action": "damaged", "session_id": session_id, "count": count}
        _log.warning("%d messages in session %s cannot be read.", count, session_id, extra=facts)

    def store_up(self, up: bool) -> None:
        if up is not self._up:
            level, state = (logging.INFO, "up") if up else (logging.ERROR, "down")
            facts = {"action": f"store_{state}", "store": self._store}
            _log.log(level, "The store %s is %s.", self._store, state, extra=facts)
            self._up = up

    def endangered(self, setting: str, text: str) -> None:
        _log.warning("%s: %s", setting, text, extra={"action": "store_setting", "setting": setting})

    def cleaned(self, removed: int, seconds: float, outcome: str) -> None:
        facts = {"action": "cleanup", "removed": removed, "outcome": outcome, "duration_ms": round(seconds * 1000, 3)}
        _log.info("A cleanup removed %d dead sessions (%s).", removed, outcome, extra=facts)
