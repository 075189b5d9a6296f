"""Streaming replies of a store: the text of a reply that grows, beside the session."""

from typing import Literal, NamedTuple, Protocol

from chat_session.message import Draft
from chat_session.storage.contract.sessions import Appended


class ReplyState(NamedTuple):
    """The last reply that was begun in a session."""

    reply_id: str
    state: Literal["growing", "committed", "aborted"]
    author: str | None = None
    reason: str = ""  # why it was aborted
    seq: int = 0  # of the message, once it is committed
    offset: int = 0  # where ``text`` begins: the watcher's offset, or 0 for another reply than the watcher's
    text: bytes = b""  # while it grows: what follows the watcher's offset, cut at no matter which byte


class ReplyStore(Protocol):
    """Optional: a store that offers none of it has None in its place.

    A reply grows in a turn, and only one at a time. Its text is kept beside the session until the turn's lease ends;
    each renewal of the turn moves that moment. A reply is over when it is committed or aborted, when its turn is
    released, stopped or taken by another, and when the epoch advances. All calls are safe to repeat.
    """

    async def begin_reply(self, session_id: str, token: str, reply_id: str, author: str | None) -> None:
        """Begin with no text. Raises SessionNotFound, TurnLost; InvalidInput while another of the turn grows."""
        ...

    async def write_reply(self, session_id: str, token: str, reply_id: str, offset: int, text: bytes) -> int:
        """Put ``text`` at ``offset`` bytes; the length that is there then.

        What is there already is not written again. Where a hole would be left, nothing is written: the length is less
        than ``offset``. Raises SessionNotFound; TurnLost, also if the reply is over.
        """
        ...

    async def commit_reply(self, session_id: str, token: str, draft: Draft, read_to: int) -> Appended:
        """Append as ``append_in_turn`` does, and end the reply whose id the message has, in one step.

        Raises SessionNotFound, TurnLost, MessageConflict.
        """
        ...

    async def abort_reply(self, session_id: str, reply_id: str, reason: str) -> None:
        """End the reply without a message, if it grows. A session or a turn that is gone is no error."""
        ...

    async def commit_partial(self, session_id: str, draft: Draft, length: int, reason: str) -> Appended | None:
        """End a reply of a turn that may be lost, and append what of it was shown, in one step.

        ``length``: of the text that is there, in bytes. None if the reply is over already, or if other text is there:
        nothing that no watcher could see is appended. Raises SessionNotFound, MessageConflict.
        """
        ...
