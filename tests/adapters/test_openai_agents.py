"""A session of the OpenAI Agents SDK: its operations, on its own."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import RunContextWrapper, Session, SessionSettings
from agents.memory import SessionABC

from chat_session import AgentConflict, Message, SessionManager
from chat_session.adapters.openai_agents import FORMAT, ManagedSession
from chat_session.errors import MessageTooLarge

Item = dict[str, Any]


def user(text: str) -> Item:
    return {"role": "user", "content": text}


def assistant(text: str) -> Item:
    return {"role": "assistant", "content": text}


def call(call_id: str) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def answer(call_id: str) -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


THINKING: Item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


async def add(session: ManagedSession, *items: Item) -> None:
    await session.add_items(list(items))  # type: ignore[arg-type]  # an item is a union of typed dicts


async def test_it_is_a_session_of_the_sdk(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)

    assert isinstance(session, Session)
    assert isinstance(session, SessionABC)
    assert session.session_id == "s"
    assert session.session_settings == SessionSettings()


async def test_the_session_is_created_with_its_first_items(manager: SessionManager) -> None:
    session = ManagedSession("s", manager, user_id="anna", max_history=7)

    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.clear_session()
    await session.add_items([])
    assert await manager.get_session("s") is None

    await add(session, user("Hello"))
    created = await manager.get_session("s")
    assert created is not None
    assert (created.user_id, created.max_history, created.message_count) == ("anna", 7, 1)


async def test_items_are_kept_in_order_and_sessions_apart(manager: SessionManager) -> None:
    one, other = ManagedSession("one", manager), ManagedSession("other", manager)
    await add(one, user("1"), assistant("2"))
    await add(other, user("x"))
    await add(one, user("1"), assistant("2"))

    assert await one.get_items() == [user("1"), assistant("2")] * 2
    assert await ManagedSession("other", manager).get_items() == [user("x")]


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, "abc"), (2, "bc"), (1, "c"), (9, "abc"), (0, ""), (-1, "abc"), (2**31 - 1, "abc")]
)
async def test_a_limit_is_that_of_the_sdks_own_sqlite_session(
    manager: SessionManager, limit: int | None, expected: str
) -> None:
    session = ManagedSession("s", manager)
    await add(session, *map(user, "abc"))

    assert [item.get("content") for item in await session.get_items(limit)] == list(expected)


async def test_the_limit_of_the_settings_counts_where_no_other_is_given(manager: SessionManager) -> None:
    await add(ManagedSession("s", manager), *map(user, "abcd"))

    assert len(await ManagedSession("s", manager, session_settings=SessionSettings(limit=2)).get_items()) == 2
    assert len(await ManagedSession("s", manager, session_settings={"limit": 3}).get_items()) == 3
    assert len(await ManagedSession("s", manager, session_settings={"limit": 3}).get_items(1)) == 1


async def test_a_limit_counts_items_and_not_what_has_none(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("a"), user("b"))
    silent = Message(sender="assistant", text="", content={"parts": []}, format="other/1", internal=True)
    await manager.add_messages("s", [silent, silent, silent])

    assert await session.get_items(2) == [user("a"), user("b")]
    assert await session.pop_item() == user("b")


async def test_an_answer_comes_without_its_call_if_only_the_answer_was_asked_for(manager: SessionManager) -> None:
    """The SDK itself removes it before a model sees it. When it checks what it wrote, it must be there."""
    session = ManagedSession("s", manager)
    await add(session, call("1"), answer("1"), assistant("Done"))

    assert await session.get_items(2) == [answer("1"), assistant("Done")]


async def test_an_answer_whose_call_was_trimmed_or_retracted_is_left_out(manager: SessionManager) -> None:
    session = ManagedSession("s", manager, max_history=4)
    await add(session, call("1"), answer("1"), call("2"), answer("2"), assistant("Done"))
    assert await session.get_items() == [call("2"), answer("2"), assistant("Done")]
    assert await session.get_items(4) == [call("2"), answer("2"), assistant("Done")]

    stored = await manager.get_history("s", 10, include_internal=True)
    await manager.retract_message("s", next(message.id or "" for message in stored if message.calls))
    assert await session.get_items() == [assistant("Done")]


async def test_an_answer_that_never_had_a_call_is_returned_as_it_was_stored(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, answer("1"), user("a"))

    assert await session.get_items() == [answer("1"), user("a")]


async def test_calls_that_were_made_together_stay_together(manager: SessionManager) -> None:
    items = [user("a"), THINKING, call("1"), call("2"), assistant("Wait"), answer("2"), answer("1"), assistant("b")]
    session = ManagedSession("s", manager)
    await add(session, *items)

    assert await session.get_items() == items


async def test_what_a_person_says_between_a_call_and_its_answer_comes_after_the_answer(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("Order"), call("1"), call("2"))
    await manager.add_message("s", {"from": "user", "text": "Hurry"})
    await manager.add_message("s", {"from": "operator", "text": "I am here"})
    await add(session, answer("1"), answer("2"), assistant("Ordered"))

    expected = [user("Order"), call("1"), call("2"), answer("1"), answer("2"), user("Hurry"), assistant("I am here")]
    assert await session.get_items() == [*expected, assistant("Ordered")]


async def test_messages_of_others_are_returned_with_their_role_and_text(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("Hello"))
    others = [
        Message(sender="operator", text="Anna here", author="anna"),
        Message(sender="operator", text="Is a good customer", internal=True),
        Message(sender="system", text="Anna has joined"),
        Message(sender="assistant", text="Hi", content={"kind": "response"}, format="pydantic-ai/1"),
        Message(sender="tool", text="sunny", content={"kind": "return"}, format="pydantic-ai/1", internal=True),
        Message(sender="assistant", text="", content={"kind": "thinking"}, format="pydantic-ai/1", internal=True),
        Message(sender="user", text="Bye"),
    ]
    await manager.add_messages("s", others)

    assert await session.get_items() == [
        user("Hello"),
        assistant("Anna here"),
        {"role": "system", "content": "Is a good customer"},
        {"role": "system", "content": "Anna has joined"},
        assistant("Hi"),
        assistant("sunny"),
        user("Bye"),
    ]


async def test_a_customer_reads_what_was_said_and_nothing_of_the_tools(manager: SessionManager) -> None:
    items = [{"role": "system", "content": "Secret"}, user("Order"), THINKING, call("1"), answer("1"), assistant("Ok")]
    await add(ManagedSession("s", manager), *items)

    assert [message.text for message in await manager.get_history("s")] == ["Order", "Ok"]


async def test_two_poppers_never_get_the_same_item(manager: SessionManager) -> None:
    await add(ManagedSession("s", manager), *(user(str(n)) for n in range(20)))
    poppers = [ManagedSession("s", manager) for _ in range(24)]

    popped = await asyncio.gather(*(popper.pop_item() for popper in poppers))
    contents = [item.get("content") for item in popped if item is not None]
    assert sorted(map(int, map(str, contents))) == list(range(20))


async def test_an_item_that_was_popped_and_is_added_again_is_no_repeat(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("a"), user("b"))
    popped = await session.pop_item()
    assert popped == user("b")

    await session.add_items([popped])
    assert await session.get_items() == [user("a"), user("b")]


async def test_clearing_keeps_the_session_and_its_fence(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("a"))
    await session.get_items()
    await manager.switch_agent("s", "human")

    for write in (session.clear_session, session.pop_item):
        with pytest.raises(AgentConflict):
            await write()
    assert await session.get_items() == [user("a")]
    await session.clear_session()
    assert await session.get_items() == []
    assert (await manager.get_session("s")) is not None


async def test_a_write_after_a_takeover_stores_nothing_and_gives_the_messages_back(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("a"))
    await session.get_items()
    await manager.switch_agent("s", "human", note="Anna has joined")

    with pytest.raises(AgentConflict) as caught:
        await add(session, THINKING, call("1"), answer("1"), assistant("Ordered"))
    assert [message.content for message in caught.value.messages] == [
        THINKING,
        call("1"),
        answer("1"),
        assistant("Ordered"),
    ]
    assert (await manager.get_session("s")).message_count == 2  # type: ignore[union-attr]

    await manager.add_unanswered(caught.value)
    assert [message.text for message in await manager.get_history("s")] == ["a", "Anna has joined"]
    assert (await session.get_items())[2:] == [THINKING, call("1"), answer("1")]


async def test_a_run_keeps_the_epoch_of_its_first_read(manager: SessionManager) -> None:
    """Two runs share the object, and the SDK reads the end of the history again in the middle of a run."""
    session = ManagedSession("s", manager)
    await add(session, user("a"))
    first, second = RunContextWrapper(context=None), RunContextWrapper(context=None)
    await session.get_items(wrapper=first)
    await manager.switch_agent("s", "human")
    await session.get_items(wrapper=second)
    await session.get_items(1, wrapper=first)

    with pytest.raises(AgentConflict):
        await session.add_items([assistant("late")], wrapper=first)  # type: ignore[list-item]
    await session.add_items([assistant("in time")], wrapper=second)  # type: ignore[list-item]
    assert await session.get_items() == [user("a"), assistant("in time")]


async def test_a_run_that_reads_its_whole_history_again_keeps_its_epoch(manager: SessionManager) -> None:
    session, run = ManagedSession("s", manager), RunContextWrapper(context=None)
    await add(session, user("Hello"))
    await session.get_items(wrapper=run)
    await manager.switch_agent("s", "human")
    await manager.switch_agent("s", "ai")
    await session.get_items(wrapper=run)
    with pytest.raises(AgentConflict):
        await session.add_items([assistant("late")], wrapper=run)  # type: ignore[list-item]
    next_run = RunContextWrapper(context=None)
    await session.get_items(wrapper=next_run)
    await session.add_items([assistant("in time")], wrapper=next_run)  # type: ignore[list-item]


async def test_the_epoch_can_be_pinned_and_the_fence_turned_off(manager: SessionManager) -> None:
    await add(ManagedSession("s", manager), user("a"))
    await manager.switch_agent("s", "human")
    pinned, free = ManagedSession("s", manager, epoch=0), ManagedSession("s", manager, epoch=False)
    for session in (pinned, free):
        await session.get_items()
    await manager.switch_agent("s", "ai")

    with pytest.raises(AgentConflict):
        await add(pinned, assistant("b"))
    await add(ManagedSession("s", manager, epoch=2), assistant("c"))
    await add(free, assistant("d"))
    assert await free.get_items() == [user("a"), assistant("c"), assistant("d")]


async def test_any_text_is_a_session_id(manager: SessionManager) -> None:
    ids = ["user 42", "user=2042", "a/b", "ä" * 100, "x" * 300, "x" * 301, "🍕", "\n"]
    for name in ids:
        await add(ManagedSession(name, manager), user(name))

    for name in ids:
        assert await ManagedSession(name, manager).get_items() == [user(name)]


async def test_what_json_cannot_hold_is_refused_and_nothing_is_stored(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    with pytest.raises(TypeError):
        await add(session, user("a"), {"role": "user", "content": object()})
    with pytest.raises(MessageTooLarge):
        await add(session, user("a"), user("x" * 1024 * 1024))

    assert await session.get_items() == []


async def test_a_cancelled_write_is_done_before_the_cancellation_is_raised(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    writing = asyncio.create_task(add(session, user("a")))
    await asyncio.sleep(0)
    writing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await session.get_items() == [user("a")]


async def test_a_content_that_is_no_item_is_replaced_by_the_text(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await add(session, user("a"))
    await manager.add_message("s", Message(sender="user", text="what it said", content="not an item", format=FORMAT))

    assert await session.get_items() == [user("a"), user("what it said")]


async def test_damaged_messages_are_passed_over_and_do_not_count(manager: SessionManager, url: str) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("it damages a row of a file")
    session = ManagedSession("s", manager)
    await add(session, *map(user, "abcd"))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
        db.execute("UPDATE messages SET element = ? WHERE seq IN (2, 4)", (b"not json",))

    assert await session.get_items(2) == [user("a"), user("c")]
    assert await session.pop_item() == user("c")
    assert await session.get_items() == [user("a")]
