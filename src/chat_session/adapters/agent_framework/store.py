"""The session store of the Agent Framework, while it is experimental, on a SessionManager."""

from collections.abc import Mapping

from agent_framework import AgentSession, SessionStore

from chat_session import SessionManager
from chat_session.adapters.finishing import finish
from chat_session.adapters.history import History
from chat_session.adapters.projection import decode, encode
from chat_session.adapters.session_ids import make_session_id, original_id
from chat_session.message import Message

FORMAT = "agent-framework.session/1"
_PREFIX = "agent-framework-snapshot"


class ManagedSessionStore(SessionStore):
    """Snapshots of AgentSessions, each as the one message of a session of its own, ``agent-framework-snapshot:<id>``.

    It lives as long as other sessions do. A snapshot has at most MAX_CONTENT_BYTES as JSON.
    """

    def __init__(self, manager: SessionManager, *, user_id: str | None = None) -> None:
        """``user_id``: whose sessions these become when they are created; else the session id stands there."""
        super().__init__()
        self._manager = manager
        self._user_id = user_id

    async def get(self, session_id: str) -> AgentSession | None:
        """A copy of the snapshot, or None. One round trip. Raises ValueError if it cannot be read."""
        self.validate_session_id(session_id)
        history = self._history(session_id)
        for message in await self._manager.get_history(history.session_id, 1, include_internal=True):
            if message.format == FORMAT and message.sender == "system":
                return AgentSession.from_dict(decode(message))
        return None

    async def set(self, session_id: str, session: AgentSession) -> None:
        """Put the snapshot in the place of the one before, in one step. One round trip.

        Raises TypeError for a subclass of AgentSession, and for a state that JSON cannot hold; MessageTooLarge.
        """
        self.validate_session_id(session_id)
        if type(session) is not AgentSession:
            raise TypeError("ManagedSessionStore supports AgentSession instances only; a subclass needs another store.")
        fields = session.to_dict()
        if isinstance(fields["service_session_id"], Mapping):
            fields["service_session_id"] = dict(fields["service_session_id"])
        content = encode(fields)
        snapshot = Message(sender="system", text="", content=content, format=FORMAT, internal=True)
        await finish(self._history(session_id).append([snapshot]))

    async def delete(self, session_id: str) -> None:
        """Remove the snapshot; gone already is no error. Two round trips."""
        self.validate_session_id(session_id)
        await finish(self._manager.delete_session(self._history(session_id).session_id))

    def _history(self, session_id: str) -> History:
        parts = (_PREFIX, session_id)
        own_id = make_session_id(*parts)
        return History(self._manager, own_id, self._user_id, epoch=False, max_history=1, metadata=original_id(*parts))
