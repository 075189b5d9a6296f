"""What an ADK ``Session`` object knows of the store at its read: the epoch of the agent, and the newest event.

It is kept in the private attribute ``_storage_update_marker``, where ADK's own services keep their revision: copies of
the object have it, too. A session that was built by hand or came over the wire has none.
"""

from typing import NamedTuple

from google.adk.sessions import Session as AdkSession

from chat_session import Session
from chat_session.adapters.adk.state import LAST

_OURS = "epoch "


class Marker(NamedTuple):
    """``last``: the time and the message id of the newest event that ADK stored, None if there is none."""

    epoch: int
    last: str | None

    @property
    def update_time(self) -> float | None:
        return None if self.last is None else float(self.last.partition(" ")[0])

    @property
    def message_id(self) -> str | None:
        return None if self.last is None else self.last.partition(" ")[2]

    def put_on(self, session: AdkSession) -> None:
        session._storage_update_marker = f"{_OURS}{self.epoch} {self.last or ''}"  # noqa: SLF001 - the place for it


def find_marker(session: AdkSession) -> Marker | None:
    """None also for a session that another service has read."""
    text = session._storage_update_marker  # noqa: SLF001
    if text is None or not text.startswith(_OURS):
        return None
    epoch, _, last = text.removeprefix(_OURS).partition(" ")
    return Marker(int(epoch), last or None)


def marker_of(session: Session) -> Marker:
    return Marker(session.agent_epoch, session.metadata.get(LAST))


def last_entry(timestamp: float, message_id: str) -> str:
    """The metadata entry ``adk:last`` after an append."""
    return f"{timestamp!r} {message_id}"
