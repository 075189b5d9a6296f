"""Arguments of the feed that are not acceptable."""

from typing import Any

import pytest

from chat_session.errors import InvalidInput, SessionNotFound
from chat_session.events import State
from chat_session.manager import SessionManager
from chat_session.testing.feed.scene import create, read_until


class FeedRefusalContract:
    async def test_a_session_that_is_not_there_cannot_be_watched(self, manager: SessionManager) -> None:
        with pytest.raises(SessionNotFound):
            await read_until(manager, State, "missing")

    @pytest.mark.parametrize(
        "cursor", ["", "x", "....", "a.1.b.0..r.1.2", "0.-1..0...-1", "０.1..0...-1", 5, b"x", "a" * 999]
    )
    async def test_what_is_no_cursor_is_refused(self, manager: SessionManager, cursor: Any) -> None:
        await create(manager)
        with pytest.raises(InvalidInput, match=r"^after must be the cursor"):
            manager.watch("s", after=cursor)

    async def test_a_cursor_of_another_session_is_a_reset(self, manager: SessionManager) -> None:
        await create(manager)
        await create(manager, "other")
        [state] = await read_until(manager, State, "other")
        async for event in manager.watch("s", after=state.cursor):
            if event.name == "reset":
                break

    @pytest.mark.parametrize("who", ["", "x" * 257, "a\nb", 5, None, "\ud800"])
    async def test_who_types_must_be_a_short_text(self, manager: SessionManager, who: Any) -> None:
        await create(manager)
        with pytest.raises(InvalidInput, match=r"^who must be"):
            await manager.send_typing("s", who)

    async def test_ids_and_flags_are_checked_at_once(self, manager: SessionManager) -> None:
        with pytest.raises(InvalidInput, match=r"^session_id"):
            manager.watch("a/b")
        with pytest.raises(InvalidInput, match=r"^include_internal"):
            manager.watch("s", include_internal="yes")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"^session_id"):
            await manager.send_typing("a/b", "user")
