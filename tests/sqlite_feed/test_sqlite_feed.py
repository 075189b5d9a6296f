"""What is special about the feed in the embedded store: its file, several processes, damaged rows, older releases."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager, StoreCorrupt
from chat_session.storage.contract import Edit, Position
from chat_session.storage.sqlite.schema import find_migrations
from testkit.embedded import Open, change, feed_of

ALL = Position(0)


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"from": "user", "text": text, **fields}


async def texts(manager: SessionManager, position: Position, size: int = 2**20) -> list[str]:
    return [message.text for message in (await feed_of(manager).observe("s", position, size)).messages]


# Observations


async def test_an_observation_holds_the_session_its_bounds_its_edits_and_the_message_at_the_position(
    connect: Open, url: str
) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s", max_history=3)
    for i in range(1, 6):
        await manager.add_message("s", say(f"m{i}", id=f"id{i}"))
    await manager.retract_message("s", "id4")
    seen = await feed_of(manager).observe("s", Position(4), 2**20)
    assert seen.session == await manager.get_session("s")
    assert (seen.first, seen.last, seen.trimmed, seen.expires) == (3, 5, 2, True)
    assert seen.told.id == "id4"
    assert seen.told.type == "retracted"
    assert [message.id for message in seen.messages] == ["id5"]
    [edit] = seen.edits
    assert edit == Edit(1, 4, 4, edit.tag)
    assert len(edit.tag) == 2
    assert seen.reply is None
    await manager.clear_history("s")
    cleared = await feed_of(manager).observe("s", Position(4), 2**20)
    assert (cleared.first, cleared.last, cleared.told, list(cleared.messages)) == (6, 5, None, [])
    assert cleared.edits == [edit, Edit(2, 0, 0, cleared.edits[1].tag)]


async def test_a_session_without_a_lifetime_does_not_expire_and_one_that_is_gone_is_not_seen(connect: Open) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s", ttl=None)
    assert (await feed_of(manager).observe("s", ALL, 1)).expires is False
    await manager.delete_session("s")
    assert await feed_of(manager).observe("s", ALL, 1) is None


async def test_a_page_has_the_size_that_was_asked_for_but_one_message_at_least(connect: Open, url: str) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s")
    for i in range(1, 6):
        await manager.add_message("s", say(f"m{i}" * 500))
    assert len(await texts(manager, ALL)) == 5
    assert len(await texts(manager, ALL, 3500)) == 3
    assert len(await texts(manager, ALL, 1)) == 1
    assert (await texts(manager, Position(4), 1))[0].startswith("m5")
    assert await texts(manager, Position(5)) == []
    assert await texts(manager, Position(-1)) == []


async def test_a_damaged_message_among_good_ones_is_told_as_unreadable(connect: Open, path: Path) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s")
    for i in range(1, 4):
        await manager.add_message("s", say(f"m{i}"))
    change(path, "UPDATE messages SET element = x'ff00' WHERE seq = 2")
    seen = await feed_of(manager).observe("s", ALL, 2**20)
    assert [message.type for message in seen.messages] == [None, "unreadable", None]
    assert (await feed_of(manager).observe("s", Position(2), 2**20)).told.type == "unreadable"


@pytest.mark.parametrize("damage", ["edits = '1:2:3:4'", "edits = CAST(x'ff' AS TEXT)", "metadata = x'ff'"])
async def test_a_damaged_session_fails_alone(connect: Open, path: Path, damage: str) -> None:
    manager = connect()
    for session_id in ("s", "t"):
        await manager.create_session("u", session_id=session_id)
    change(path, f"UPDATE sessions SET {damage} WHERE session_id = 's'")
    asked = (feed_of(manager).observe(session_id, ALL, 1) for session_id in ("s", "t"))
    found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], StoreCorrupt)
    assert found[0].session_id == "s"
    assert found[1].session.session_id == "t"


async def test_a_session_of_the_same_id_has_another_incarnation(connect: Open, url: str) -> None:
    manager = connect(url)
    incarnations = set()
    for _ in range(3):
        await manager.create_session("u", session_id="s")
        incarnations |= {(await feed_of(manager).observe("s", ALL, 1)).incarnation for _ in range(2)}
        await manager.delete_session("s")
    assert len(incarnations) == 3


# What was trimmed


async def test_only_what_the_customer_could_see_counts_as_trimmed_once_internal_messages_are_gone(
    connect: Open, url: str
) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s", max_history=3)

    async def add(text: str, *, internal: bool = False) -> int:
        await manager.add_message("s", say(text, internal=internal))
        return int((await feed_of(manager).observe("s", ALL, 1)).trimmed)

    found = [await add("1"), await add("2"), await add("3", internal=True), await add("4", internal=True)]
    assert found == [0, 0, 0, 1]
    await manager.pop_messages("s", 1)  # a tombstone of an internal message stays internal
    assert [await add("5"), await add("6"), await add("7"), await add("8")] == [2, 2, 2, 5]


async def test_messages_that_one_call_appends_and_trims_count_like_others(connect: Open, url: str) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s", max_history=2)
    batch = [say(str(i), internal=i in (1, 4)) for i in range(1, 7)]
    await manager.add_messages("s", batch)
    seen = await feed_of(manager).observe("s", ALL, 2**20)
    assert (seen.first, seen.trimmed) == (5, 3)


# Older files


async def test_a_file_of_the_last_release_is_watched_like_a_new_one(connect: Open, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        for number in range(1, 5):
            db.executescript(find_migrations()[number].read_text("utf-8"))
        db.execute("PRAGMA user_version=4")
        db.execute(f"PRAGMA application_id={0x43685365}")
        for session_id, second in (("s", 0), ("t", 0), ("v", 1)):
            moment = f"2026-01-31T08:00:0{second}.000Z"
            row = (session_id, moment, moment, 2**63 - 1)
            db.execute(
                "INSERT INTO sessions (session_id, user_id, created_at, last_active_at, current_agent, agent_epoch, "
                "message_count, deadline, metadata, position) VALUES (?, 'u', ?, ?, 'ai', 0, 5, ?, x'7b7d', 1)",
                row,
            )
        db.execute("INSERT INTO messages VALUES ('s', 5, x'61', x'62', ?)", (b'{"id":"a","from":"user","text":"x"}',))
        db.commit()
    manager = connect()
    seen = [await feed_of(manager).observe(session_id, ALL, 1) for session_id in ("s", "s", "t", "v")]
    assert [each.incarnation == seen[0].incarnation for each in seen] == [True, True, True, False]
    assert (seen[0].first, seen[0].last, seen[0].trimmed, seen[2].trimmed) == (5, 5, 4, 5)
    await manager.add_message("s", say("hello"))
    assert await texts(manager, Position(5)) == ["hello"]
