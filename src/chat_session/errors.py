"""Every error a caller can meet.

    ChatSessionError            code, retryable, session_id
    ├── InvalidInput            an argument is not acceptable; nothing was stored   (ValueError)
    │   └── MessageTooLarge     a message's text or content, or all of a call, is over a limit
    ├── SettingsError           a setting or a store's URL is not acceptable        (ValueError)
    ├── SessionNotFound         a write to a session that is not there              (LookupError)
    ├── MessageNotFound         a change to a message that is not there             (LookupError)
    ├── SessionExists           a session id that is taken
    ├── Conflict
    │   ├── AgentConflict       the epoch or agent the caller saw is no longer current
    │   ├── MessageConflict     a message id that is stored with other content
    │   ├── SequenceConflict    the history has changed since the caller read it
    │   ├── MetadataConflict    the metadata has changed since the caller read it
    │   ├── DeskConflict        another operator has the session, or nobody
    │   ├── OperatorFull        the operator has as many sessions as the operator's capacity
    │   ├── TurnBusy            another worker answers the session now
    │   └── TurnLost            the turn is over: its lease, a takeover, a stop
    ├── StoreError              the store did not do it
    │   ├── StoreUnavailable    away, loading, busy or too slow, after all retries
    │   ├── StoreReadOnly       a replica, or a store that refuses writes
    │   ├── StoreFull           out of memory or disk
    │   ├── StoreDenied         wrong password, missing right, forbidden command
    │   ├── StoreIncompatible   what answers is not a store this package can speak to
    │   └── StoreCorrupt        stored data is not of the shape it must have
    └── UsageError              the manager is used in a way it cannot work          (RuntimeError)
        ├── ManagerClosed       after close()
        ├── CapabilityMissing   the store does not offer what the call needs
        ├── NoEventLoop         from code that runs in no event loop
        ├── WrongEventLoop      from another event loop than its first call
        └── UsedAfterFork       from a child of the process that made it

``code`` is stable and fit for programs; ``retryable`` says that the same call may succeed later
without a change. No error carries a password; none shows a message's text. Errors can be copied and
pickled with all their facts, so they pass through process pools and task queues.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar


class ChatSessionError(Exception):
    """The root of all errors of this package."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, text: str, *, session_id: str | None = None) -> None:
        super().__init__(text)
        self.session_id = session_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the finished text and the facts. Exception would call ``__init__`` with the text alone."""
        return _restore, (type(self), self.args), vars(self)


def _restore(kind: type[ChatSessionError], args: tuple[Any, ...]) -> ChatSessionError:
    """An error as it was, without its ``__init__``: subclasses may take any parameters."""
    return kind.__new__(kind, *args)


class InvalidInput(ChatSessionError, ValueError):
    """An argument is not acceptable; nothing was stored. ``argument``, ``allowed`` and ``got`` say which."""

    code = "invalid_input"

    def __init__(self, argument: str, allowed: str, got: str, advice: str = "") -> None:
        super().__init__(f"{argument} must be {allowed}; got {got}." + (advice and f" {advice}"))
        self.argument = argument
        self.allowed = allowed
        self.got = got


class MessageTooLarge(InvalidInput):
    """A text is over ``MAX_MESSAGE_BYTES``, a content over ``MAX_CONTENT_BYTES``, or all of one call over 8 MiB.

    Split it, or store a link to it.
    """

    code = "message_too_large"


class SettingsError(ChatSessionError, ValueError):
    """A setting is not acceptable. ``variable`` is its name in the environment."""

    code = "settings"

    def __init__(self, variable: str, text: str) -> None:
        super().__init__(f"{variable}: {text}")
        self.variable = variable


class SessionNotFound(ChatSessionError, LookupError):
    """There is no such session: never created, deleted, or past its deadline."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        text = f"The session '{session_id}' does not exist or has expired. Create one with create_session."
        super().__init__(text, session_id=session_id)


class MessageNotFound(ChatSessionError, LookupError):
    """There is no such message: never stored, trimmed, cleared or retracted."""

    code = "message_not_found"

    def __init__(self, session_id: str, message_id: str) -> None:
        text = (
            f"There is no message {message_id!r} in the history of session '{session_id}': "
            "it was never stored, or it was trimmed, cleared or retracted. Read the history again."
        )
        super().__init__(text, session_id=session_id)
        self.message_id = message_id


class SessionExists(ChatSessionError):
    """The session id is taken."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        text = f"The session '{session_id}' exists already. Read it with get_session, or pass another session_id."
        super().__init__(text, session_id=session_id)


class Conflict(ChatSessionError):
    """The store holds something that contradicts the call; nothing was changed."""

    code = "conflict"


class AgentConflict(Conflict):
    """The epoch or agent that the caller saw is no longer current.

    ``current_epoch`` is the session's epoch now. Read the session again and decide again. After a refused append
    ``messages`` holds the ``Message`` values that were sent; ``add_unanswered`` stores those that may still be stored.
    """

    code = "agent_conflict"

    def __init__(self, session_id: str, expected: int | str, current_epoch: int, current_agent: str) -> None:
        text = (
            f"The agent of session '{session_id}' was switched: the session is now at epoch {current_epoch} "
            f"({current_agent}), not {expected}. Read the session again, and drop replies that were computed before."
        )
        super().__init__(text, session_id=session_id)
        self.messages: Sequence[Any] = ()
        self.expected = expected
        self.current_epoch = current_epoch
        self.current_agent = current_agent


class MessageConflict(Conflict):
    """The message id is stored with other content than the caller sends or expects."""

    code = "message_conflict"

    def __init__(self, session_id: str, message_id: str, advice: str = "Send a new message under a new id.") -> None:
        text = f"The message id {message_id!r} is stored in session '{session_id}' with other content. {advice}"
        super().__init__(text, session_id=session_id)
        self.message_id = message_id


class SequenceConflict(Conflict):
    """The history has changed since the caller read it.

    ``current_seq`` is the newest sequence number that was given out, ``current_revision`` counts the changes that were
    not appends. Read the history again and decide again.
    """

    code = "sequence_conflict"

    def __init__(self, session_id: str, current_seq: int, current_revision: int) -> None:
        text = (
            f"The history of session '{session_id}' has changed: its newest sequence number is now {current_seq}, "
            f"its revision {current_revision}. Read the history again; nothing was stored."
        )
        super().__init__(text, session_id=session_id)
        self.current_seq = current_seq
        self.current_revision = current_revision


class MetadataConflict(Conflict):
    """An entry of the metadata is not as the caller expects it. ``name`` says which."""

    code = "metadata_conflict"

    def __init__(self, session_id: str, name: str) -> None:
        text = (
            f"The metadata entry {name!r} of session '{session_id}' is not as expected. "
            "Read the session again; nothing was stored."
        )
        super().__init__(text, session_id=session_id)
        self.name = name


class DeskConflict(Conflict):
    """The session is not in the state that a step of the desk needs.

    ``state`` is "open", "waiting" or "assigned"; ``operator_id`` who has it, None if nobody has or it is not known;
    ``since`` when that began. Leave the session to that operator, or take it with ``take_over``.
    """

    code = "desk_conflict"

    def __init__(
        self, session_id: str, state: str, operator_id: str | None, since: datetime | None, current_epoch: int
    ) -> None:
        who = f"assigned to operator {operator_id!r}" if operator_id is not None else state
        when = "" if since is None else f" since {since.isoformat(timespec='seconds')}"
        text = (
            f"The session '{session_id}' is {who}{when}, at epoch {current_epoch}, and nothing was changed. "
            "Leave it as it is, or take it over with take_over."
        )
        super().__init__(text, session_id=session_id)
        self.state = state
        self.operator_id = operator_id
        self.since = since
        self.current_epoch = current_epoch


class OperatorFull(Conflict):
    """The operator has as many sessions as the operator's capacity. ``take_over`` does not count them."""

    code = "operator_full"

    def __init__(self, operator_id: str, assigned: int, capacity: int) -> None:
        super().__init__(
            f"Operator {operator_id!r} has {assigned} of at most {capacity} sessions. "
            "Hand one back or transfer it, or raise the capacity with operator_seen."
        )
        self.operator_id = operator_id
        self.assigned = assigned
        self.capacity = capacity


class TurnBusy(Conflict):
    """Another worker answers the session now. ``seconds``: how long its turn lasts if it is not renewed."""

    code = "turn_busy"
    retryable = True

    def __init__(self, session_id: str, seconds: float) -> None:
        text = (
            f"Another worker answers the session '{session_id}', for {seconds:.1f} s if it does not renew its turn. "
            "Leave the session to it, or pass wait to wait for the turn."
        )
        super().__init__(text, session_id=session_id)
        self.seconds = seconds


class TurnLost(Conflict):
    """The turn is over, and what was to be written was not.

    ``reason``: "expired", "taken_over", "stopped", or "released": it was used outside of its block.

    Drop the reply. What a tool did can still be stored with ``turn.record``.
    """

    code = "turn_lost"

    def __init__(self, session_id: str, reason: str) -> None:
        why = {
            "expired": "its lease ended before it was renewed, or the session is gone",
            "released": "it was used before its block was entered, or after it was over",
            "taken_over": "the agent was switched",
            "stopped": "stop_turn was called",
        }.get(reason, reason)
        text = f"The turn on session '{session_id}' is lost: {why}. Nothing more is stored through it; drop the reply."
        super().__init__(text, session_id=session_id)
        self.messages: Sequence[Any] = ()
        self.reason = reason


class StoreError(ChatSessionError):
    """The store did not do what was asked. ``outcome_unknown``: it may have, and the answer was lost.

    After a failed append ``messages`` holds the ``Message`` values that were sent, ids filled in:
    sending the very same again cannot store them twice.
    """

    code = "store"

    def __init__(self, text: str, *, session_id: str | None = None, outcome_unknown: bool = False) -> None:
        super().__init__(text, session_id=session_id)
        self.outcome_unknown = outcome_unknown
        self.messages: Sequence[Any] = ()

    def mark_changed(self) -> None:
        """What was asked was done, and only what follows it was not: the error must not say that nothing was."""
        self.outcome_unknown = True


class StoreUnavailable(StoreError):
    """The store was away, loading, busy or too slow, after all retries and within the call's deadline."""

    code = "store_unavailable"
    retryable = True

    def __init__(
        self,
        text: str,
        *,
        session_id: str | None = None,
        outcome_unknown: bool = False,
        attempts: int = 1,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(text, session_id=session_id, outcome_unknown=outcome_unknown)
        self.attempts = attempts
        self.elapsed = elapsed


class StoreReadOnly(StoreError):
    """The store refuses writes: a replica, or a file without the right to write."""

    code = "store_read_only"
    retryable = True


class StoreFull(StoreError):
    """The store is out of memory or disk; reads, deletes and cleanup still work."""

    code = "store_full"
    retryable = True


class StoreDenied(StoreError):
    """The store refused the password, or the user lacks a right."""

    code = "store_denied"


class StoreIncompatible(StoreError):
    """What answers there is not a store this package can speak to."""

    code = "store_incompatible"


class StoreCorrupt(StoreError):
    """Stored data does not have the shape it must have. ``key`` names where, ``problem`` what."""

    code = "store_corrupt"

    def __init__(self, key: str, problem: str, *, session_id: str | None = None) -> None:
        text = f"{key} {problem}, and nothing was changed. The command 'chat-session doctor' shows all such damage."
        super().__init__(text, session_id=session_id)
        self.key = key
        self.problem = problem

    def mark_changed(self) -> None:
        super().mark_changed()
        self.args = (str(self).replace("nothing was changed", "a part of what was asked was done"),)


class UsageError(ChatSessionError, RuntimeError):
    """The manager is used in a way it cannot work."""

    code = "usage"


class ManagerClosed(UsageError):
    """The manager was closed; make a new one."""

    code = "manager_closed"

    def __init__(self) -> None:
        super().__init__("This SessionManager is closed. Make a new one.")


class CapabilityMissing(UsageError):
    """The store does not offer what the call needs. ``capability`` names it: "operator"."""

    code = "capability_missing"

    def __init__(self, capability: str) -> None:
        super().__init__(f"This store has no {capability} functions. Use a store that offers them.")
        self.capability = capability


class NoEventLoop(UsageError):
    """What was called works in the background of an event loop, and none runs here."""

    code = "no_event_loop"

    def __init__(self) -> None:
        super().__init__(
            "SessionCleanup.start() was called where no event loop runs. Call it from a coroutine, "
            "or use chat_session.blocking.SessionCleanup in synchronous code."
        )


class WrongEventLoop(UsageError):
    """The manager belongs to the event loop of its first call."""

    code = "wrong_event_loop"

    def __init__(self) -> None:
        super().__init__(
            "This SessionManager was first used in another event loop, and its connections belong to that one. "
            "Make a manager for each event loop, or use chat_session.blocking from threads."
        )


class UsedAfterFork(UsageError):
    """The manager's connections belong to the process that made it."""

    code = "used_after_fork"

    def __init__(self) -> None:
        super().__init__(
            "This SessionManager was made before a fork, and its connections belong to the parent process. "
            "Make the manager in the child process (in gunicorn: in post_fork, or when it is first used)."
        )
