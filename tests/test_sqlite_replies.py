"""Streaming replies in the embedded store: the row of the reply, its fences, and what ends it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager
from chat_session.clock import now
from chat_session.errors import InvalidInput, MessageConflict, SessionNotFound, TurnLost
from chat_session.message import Draft, Message
from chat_session.storage.contract import Position, ReplyState
from chat_session.testing import until
from testkit.backends import store_of

LEASE = 600.0
HERE = Position(-1)  # of a watcher that has nothing of a reply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture(params=["file", "memory"])
async def manager(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[SessionManager]:
    """With the session "s", whose turn the token "t" has."""
    url = f"sqlite:///{path if request.param == 'file' else ':memory:'}"
    async with SessionManager.from_url(url) as opened:
        await opened.create_session("u", session_id="s")
        await opened.add_message("s", {"from": "user", "text": "question"})
        await store_of(opened).turns.take_turn("s", "t", LEASE)
        yield opened


@pytest.fixture
def store(manager: SessionManager) -> Any:
    return store_of(manager)


def reply(text: str, reply_id: str = "r", **fields: Any) -> Draft:
    message = Message(sender="assistant", text=text, id=reply_id, timestamp=now(), **fields)
    return Draft(message, timestamp_generated=True)


async def look(store: Any, position: Position = HERE, size: int = 1000) -> ReplyState | None:
    seen = await store.feed.observe("s", position, size)
    found: ReplyState | None = seen.reply
    return found


async def begin(store: Any, text: bytes = b"") -> None:
    await store.replies.begin_reply("s", "t", "r", "bot")
    await store.replies.write_reply("s", "t", "r", 0, text)


def aborted(reason: str) -> ReplyState:
    return ReplyState("r", "aborted", "bot", reason=reason)


def committed(seq: int) -> ReplyState:
    return ReplyState("r", "committed", "bot", seq=seq)


def growing(text: bytes, offset: int = 0) -> ReplyState:
    return ReplyState("r", "growing", "bot", offset=offset, text=text)


async def shorten(store: Any, lease: float = 0.001) -> None:
    """The turn's lease ends at once."""
    await store.turns.renew_turn("s", "t", lease)

    async def is_over() -> bool:
        return await look(store) == aborted("expired")

    await until(is_over)


# Text


async def test_the_text_is_kept_byte_for_byte_wherever_it_is_cut(store: Any) -> None:
    assert await look(store) is None
    await begin(store)
    assert await look(store) == growing(b"")
    text = "a\0é漢😀".encode() * 3
    for i in range(len(text)):
        assert await store.replies.write_reply("s", "t", "r", i, text[i : i + 1]) == i + 1
    assert await look(store) == growing(text)
    assert await look(store, Position(-1, "r", 4), 5) == growing(text[4:9], 4)
    assert await look(store, Position(-1, "r", len(text))) == growing(b"", len(text))
    assert await look(store, Position(-1, "another", 4)) == growing(text)


async def test_what_is_there_is_not_written_again_and_a_hole_is_not_left(store: Any) -> None:
    await begin(store, b"hello")
    write = store.replies.write_reply
    assert await write("s", "t", "r", 0, b"hello") == 5
    assert await write("s", "t", "r", 1, b"XX") == 5
    assert await write("s", "t", "r", 3, b"lo wor") == 9
    assert await write("s", "t", "r", 11, b"d") == 9
    assert await look(store) == growing(b"hello wor")


# Beginning


async def test_beginning_again_changes_nothing_while_it_grows_and_is_refused_when_it_is_over(store: Any) -> None:
    await begin(store, b"hello")
    await store.replies.begin_reply("s", "t", "r", "bot")
    assert await look(store) == growing(b"hello")
    await store.replies.abort_reply("s", "r", "failed")
    with pytest.raises(TurnLost):
        await store.replies.begin_reply("s", "t", "r", "bot")
    assert await look(store) == aborted("failed")


async def test_a_turn_has_one_reply_at_a_time(store: Any) -> None:
    await begin(store, b"hello")
    with pytest.raises(InvalidInput):
        await store.replies.begin_reply("s", "t", "r2", None)
    await store.replies.commit_reply("s", "t", reply("hello"), 1)
    await store.replies.begin_reply("s", "t", "r2", None)
    assert await look(store) == ReplyState("r2", "growing")


# Fences


async def test_nothing_is_written_without_the_session_its_turn_or_its_reply(store: Any) -> None:
    write, commit, begin_reply = store.replies.write_reply, store.replies.commit_reply, store.replies.begin_reply
    with pytest.raises(TurnLost):
        await write("s", "t", "r", 0, b"never begun")
    await begin(store, b"hello")
    for lost in (
        write("s", "other", "r", 5, b"x"),
        write("s", "t", "r2", 5, b"x"),
        begin_reply("s", "other", "r2", None),
        commit("s", "other", reply("hello"), 1),
    ):
        with pytest.raises(TurnLost):
            await lost
    for gone in (
        write("none", "t", "r", 0, b"x"),
        begin_reply("none", "t", "r", None),
        commit("none", "t", reply("hello"), 1),
        store.replies.commit_partial("none", reply("hello"), 5, "failed"),
    ):
        with pytest.raises(SessionNotFound):
            await gone
    await store.replies.abort_reply("none", "r", "failed")
    await store.replies.abort_reply("s", "r2", "failed")
    assert await look(store) == growing(b"hello")


@pytest.mark.parametrize("end", ["commit", "abort", "stop", "release", "switch", "expire", "partial"])
async def test_a_late_delta_brings_no_finished_reply_back(store: Any, manager: SessionManager, end: str) -> None:
    await begin(store, b"hello")
    match end:
        case "commit":
            await store.replies.commit_reply("s", "t", reply("hello"), 1)
        case "abort":
            await store.replies.abort_reply("s", "r", "failed")
        case "stop":
            await store.turns.stop_turn("s")
        case "release":
            await store.turns.release_turn("s", "t", 1, unless_newer=False)
        case "switch":
            await manager.switch_agent("s", "human")
        case "expire":
            await shorten(store)
        case "partial":
            await store.replies.commit_partial("s", reply("hello"), 5, "failed")
    over = await look(store)
    assert over in (committed(2), *map(aborted, ("failed", "stopped", "released", "taken_over", "expired")))
    for again in (store.replies.write_reply("s", "t", "r", 5, b"x"), store.replies.write_reply("s", "t", "r", 0, b"")):
        with pytest.raises(TurnLost):
            await again
    assert await look(store) == over


# Ends


async def test_a_commit_appends_the_message_and_ends_the_reply_in_one_step(store: Any, manager: SessionManager) -> None:
    await begin(store, b"hello")
    first = await store.replies.commit_reply("s", "t", reply("hello"), 1)
    assert (first.message.seq, first.duplicate) == (2, False)
    assert await look(store) == committed(2)
    again = await store.replies.commit_reply("s", "t", reply("hello"), 1)
    assert (again.message.seq, again.duplicate) == (2, True)
    assert [message.id for message in await manager.get_history("s")][1:] == ["r"]
    assert (await store.turns.renew_turn("s", "t", LEASE)).answered == 2


async def test_a_commit_that_is_refused_leaves_the_reply_as_it_was(store: Any, manager: SessionManager) -> None:
    await begin(store, b"hello")
    await manager.add_message("s", {"from": "user", "text": "of the same id", "id": "r"})
    with pytest.raises(MessageConflict):
        await store.replies.commit_reply("s", "t", reply("hello"), 1)
    assert await look(store) == growing(b"hello")


async def test_an_aborted_reply_is_not_committed(store: Any, manager: SessionManager) -> None:
    await begin(store, b"hello")
    await store.replies.abort_reply("s", "r", "failed")
    with pytest.raises(TurnLost):
        await store.replies.commit_reply("s", "t", reply("hello"), 1)
    assert await look(store) == aborted("failed")
    assert len(await manager.get_history("s")) == 1


async def test_a_reply_that_was_never_begun_is_committed_like_any(store: Any) -> None:
    assert (await store.replies.commit_reply("s", "t", reply("hello"), 1)).message.seq == 2
    assert await look(store) is None


async def test_a_takeover_is_told_although_the_agent_is_switched_back(store: Any, manager: SessionManager) -> None:
    await begin(store, b"hello")
    await manager.switch_agent("s", "human")
    assert await look(store) == aborted("taken_over")
    await manager.switch_agent("s", "ai")
    assert await look(store) == aborted("taken_over")
    await store.turns.take_turn("s", "t2", LEASE)
    assert await look(store) == aborted("taken_over")


async def test_each_renewal_of_the_turn_keeps_the_reply_and_the_next_turn_ends_it(store: Any) -> None:
    await store.turns.renew_turn("s", "t", 5.0)
    await begin(store, b"hello")
    await store.turns.renew_turn("s", "t", LEASE)
    await store.turns.take_turn("s", "t", LEASE)  # a repeat
    assert await look(store) == growing(b"hello")
    await shorten(store)
    await store.turns.take_turn("s", "t", LEASE)  # the lease was over, so this is another turn
    assert await look(store) == aborted("expired")
    with pytest.raises(TurnLost):
        await store.replies.write_reply("s", "t", "r", 5, b"x")


async def test_an_end_that_was_told_stays(store: Any) -> None:
    await begin(store, b"hello")
    await store.turns.stop_turn("s")
    await store.replies.abort_reply("s", "r", "failed")
    await store.turns.take_turn("s", "t2", LEASE)
    assert await look(store) == aborted("stopped")


# What was shown of a reply


@pytest.mark.parametrize("loss", ["failed", "taken_over", "stopped"])
async def test_what_was_shown_can_be_kept(store: Any, manager: SessionManager, loss: str) -> None:
    await begin(store, b"hel")
    if loss == "taken_over":
        await manager.switch_agent("s", "human")
    elif loss == "stopped":
        await store.turns.stop_turn("s")
        await store.turns.take_turn("s", "t2", LEASE)
        assert await look(store) == aborted("stopped")
    partial = store.replies.commit_partial
    kept = await partial("s", reply("hel", type="partial"), 3, "failed")
    assert (kept.message.seq, kept.duplicate) == (2, False)
    assert await look(store) == aborted(loss)
    again = await partial("s", reply("hel", type="partial"), 3, "failed")
    assert (again.message.seq, again.duplicate) == (2, True)
    assert [message.text for message in await manager.get_history("s")] == ["question", "hel"]


@pytest.mark.parametrize("end", ["release", "abort", "lease"])
async def test_of_a_reply_that_is_over_nothing_is_kept(store: Any, manager: SessionManager, end: str) -> None:
    await begin(store, b"hel")
    match end:
        case "release":
            await store.turns.release_turn("s", "t", None, unless_newer=False)
        case "abort":
            await store.turns.stop_turn("s")
            await store.replies.abort_reply("s", "r", "failed")
        case "lease":
            await shorten(store)
    over = await look(store)
    assert await store.replies.commit_partial("s", reply("hel", type="partial"), 3, "failed") is None
    assert await look(store) == over
    assert len(await manager.get_history("s")) == 1


async def test_what_no_watcher_saw_is_not_kept(store: Any, manager: SessionManager) -> None:
    partial = store.replies.commit_partial
    assert await partial("s", reply("hel"), 3, "failed") is None
    await begin(store, b"hello")
    assert await partial("s", reply("hel"), 3, "failed") is None
    assert await partial("s", reply("hello", "r2"), 5, "failed") is None
    assert await look(store) == growing(b"hello")
    await shorten(store)
    assert await partial("s", reply("hello"), 5, "failed") is None
    assert len(await manager.get_history("s")) == 1


# Cleaning


async def count(store: Any, where: str = "1") -> int:
    [found] = await store._writer.run(
        "count", lambda db: db.execute(f"SELECT count(*) FROM replies WHERE {where}").fetchone()
    )
    return int(found)


async def test_a_reply_goes_with_its_session(store: Any, manager: SessionManager) -> None:
    await begin(store, b"hello")
    await manager.delete_session("s")
    assert await count(store) == 0
    await manager.create_session("u", session_id="s", ttl=1)
    await store.turns.take_turn("s", "t", LEASE)
    await begin(store, b"hello")

    async def is_swept() -> bool:
        return bool(await store.sessions.sweep())

    await until(is_swept)
    assert await count(store) == 0


async def test_a_sweep_removes_the_text_of_a_reply_whose_lease_has_ended(store: Any) -> None:
    await begin(store, b"hello")
    await store.sessions.sweep()
    assert await look(store) == growing(b"hello")
    await shorten(store)
    assert await count(store, "length(text) > 0") == 1
    await store.sessions.sweep()
    assert await count(store, "length(text) > 0") == 0
    assert await look(store) == aborted("expired")


async def test_a_damaged_row_of_a_reply_breaks_no_feed(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path / 'chat.db'}") as manager:
        store = store_of(manager)
        await manager.create_session("u", session_id="s")
        await store.turns.take_turn("s", "t", LEASE)
        await begin(store, b"hello")
        with closing(sqlite3.connect(tmp_path / "chat.db")) as db:
            db.execute("UPDATE replies SET author = CAST(x'ff' AS TEXT), state = 'unknown'")
            db.commit()
        found = await look(store)
        assert found is not None
        assert (found.state, found.reason) == ("aborted", "expired")
