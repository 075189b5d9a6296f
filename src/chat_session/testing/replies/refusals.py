"""The contract of arguments of streaming replies that are not acceptable: nothing happens."""

from typing import Any

import pytest

from chat_session.errors import InvalidInput
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import create_asking, history

NO_TEXTS: list[Any] = [None, 5, b"bytes", ["x"], {"text": "x"}, "\ud800", "fine until here \udfff"]


class ReplyRefusalContract:
    """Arguments that are not acceptable."""

    @pytest.mark.parametrize("text", NO_TEXTS, ids=ascii)
    async def test_what_is_no_text_is_refused_and_the_reply_goes_on(self, manager: SessionManager, text: Any) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("hel")
            with pytest.raises(InvalidInput, match="text"):
                await reply.write(text)
            await reply.write("lo")
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_a_second_reply_at_once_is_refused_and_the_first_goes_on(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("hel")
            with pytest.raises(InvalidInput, match="one reply at a time"):
                async with turn.stream():
                    pass
            with pytest.raises(InvalidInput):
                await reply.__aenter__()
            await reply.write("lo")
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_a_reply_is_used_within_its_block_alone(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            reply = turn.stream()
            with pytest.raises(InvalidInput):
                await reply.write("too early")
            async with reply:
                await reply.write("hello")
            for again in (reply.write("too late"), reply.__aenter__()):
                with pytest.raises(InvalidInput):
                    await again
            with pytest.raises(InvalidInput):
                reply.set_fields(tokens=1)
        assert await history(manager, "s") == ["question in s", "hello"]

    @pytest.mark.parametrize(
        "options",
        [{"author": 5}, {"author": ""}, {"type": 5}, {"type": "retracted"}, {"type": "\ud800"}, {"keep_partial": 1}],
        ids=ascii,
    )
    async def test_what_is_no_field_of_a_message_is_refused(
        self, manager: SessionManager, options: dict[str, Any]
    ) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            with pytest.raises(InvalidInput):
                turn.stream(**options)

    @pytest.mark.parametrize("name", ["id", "from", "sender", "text", "timestamp", "seq", "author", "answers"])
    async def test_the_fields_that_watchers_know_or_the_store_gives_cannot_be_set(
        self, manager: SessionManager, name: str
    ) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("hello")
            for fields in ({name: "x"}, {"tokens": -1}, {"content": object()}, {"type": "unreadable"}):
                with pytest.raises(InvalidInput):
                    reply.set_fields(**fields)
        [_, message] = await manager.get_history("s")
        assert (message.text, message.tokens, message.content, message.extra) == ("hello", None, None, {})
