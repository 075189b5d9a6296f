"""What the SDK's compaction needs: the newest items, and one step that puts others in the place of the last of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_session.adapters.history import History, is_whole
from chat_session.adapters.openai_agents.items import FORMAT, to_item
from chat_session.adapters.pairing import is_of, pair_messages
from chat_session.errors import AgentConflict, MessageTooLarge, SequenceConflict, SessionNotFound
from chat_session.message import UNREADABLE, Message

if TYPE_CHECKING:
    from agents import TResponseInputItem

    Items = list[TResponseInputItem]
    MakeMessages = Callable[[Sequence[TResponseInputItem]], list[Message]]
    IsExpired = Callable[[TResponseInputItem], bool]


@dataclass(frozen=True)
class Snapshot:
    """``complete``: there are no older items. ``replace_suffix``: from a place in the items on; whether it was done."""

    items: "Items"
    complete: bool
    replace_suffix: "Callable[[int, Items], Awaitable[bool]]"


async def take_snapshot(
    history: History, limit: int, make_messages: "MakeMessages", is_expired: "IsExpired | None"
) -> Snapshot | None:
    """The newest ``limit`` items. None if a stored message is damaged: it would be lost. One round trip.

    A replacement keeps every other message, and does nothing if anything was written or if the agent was switched
    since the snapshot. ``is_expired``: which items at the beginning of the history may go on that occasion.
    """
    session, stored = await history.read_stored()
    if session is None or any(message.type == UNREADABLE for message in stored):
        return None
    fence = history.epoch
    paired = pair_messages(stored, is_of(FORMAT), is_whole=is_whole(session, stored))
    shown = [(message, item) for message in paired if (item := to_item(message)) is not None]
    newest = shown[-limit:]

    async def replace_suffix(start: int, output: "Items") -> bool:
        replaced = {message.seq for message, _ in newest[start:]}
        if not replaced:
            return False
        kept = [message for message in stored if message.seq not in replaced]
        if is_expired is not None:
            kept = _without_expired(kept, is_expired)
        try:
            await history.manager.replace_history(
                history.session_id,
                [*kept, *make_messages(output)],
                expect_revision=session.revision,
                expect_seq=session.message_count,
                epoch=fence,
            )
        except (AgentConflict, SequenceConflict, SessionNotFound, MessageTooLarge):
            return False
        return True

    return Snapshot([item for _, item in newest], len(newest) == len(shown), replace_suffix)


def _without_expired(messages: list[Message], is_expired: "IsExpired") -> list[Message]:
    for place, message in enumerate(messages):
        item = to_item(message)
        if item is None or not is_expired(item):
            return messages[place:]
    return []
