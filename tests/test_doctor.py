"""What the doctor finds in a store, and that --repair repairs it."""

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from chat_session import Inspector, SessionManager, StoreCorrupt
from chat_session.storage.contract import Finding
from testkit.backends import ACL, Backend, ServerBackend, SqliteBackend, StartBackend


def levels(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.subject: finding.level for finding in findings}


async def test_a_healthy_store_has_no_errors(backend: Backend, manager: SessionManager) -> None:
    for i in range(20):
        session = await manager.create_session(f"u{i % 3}", ttl=600)
        await manager.add_message(session.session_id, {"from": "user", "text": "x"})
    findings = await Inspector(manager).diagnose()
    assert "error" not in levels(findings).values()


async def test_settings_that_endanger_sessions_are_told(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            assert levels(await Inspector(manager).diagnose())["persistence"] == "warning"
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("appendonly", "yes")
            try:
                found = levels(await Inspector(manager).diagnose())
                assert (found["eviction"], found["persistence"]) == ("warning", "ok")
                client.config_set("appendfsync", "no")
                assert levels(await Inspector(manager).diagnose())["persistence"] == "warning"
                client.config_set("save", "60 1")
                client.config_set("appendonly", "no")
                assert levels(await Inspector(manager).diagnose())["persistence"] == "warning"
            finally:
                client.config_set("maxmemory-policy", "noeviction")
                client.config_set("appendonly", "no")
                client.config_set("save", "")
                client.config_set("appendfsync", "everysec")


async def test_what_is_inconsistent_is_found_and_repaired(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        for name in ("whole", "halved", "unindexed", "endless", "vanished"):
            await manager.create_session("u", session_id=name, ttl=600)
            await manager.add_message(name, {"from": "user", "text": "x"})
        with redis_backend.server.client() as client:
            client.delete("session:halved:meta")
            for key in client.scan_iter("sessions:due:*"):
                client.zrem(key, "unindexed/u", "halved/u")
            client.zrem("user:u:sessions", "unindexed", "halved")
            for part in ("meta", "agent", "history", "ids"):
                client.persist(f"session:endless:{part}")
                client.delete(f"session:vanished:{part}")
            found = levels(await Inspector(manager).diagnose())
            wrong = {"orphans": "error", "index": "error", "deadlines": "error", "index entries": "error"}
            assert {subject: found[subject] for subject in wrong} == wrong
            assert await manager.get_active_sessions_count() == 3
            repaired = await Inspector(manager).diagnose(repair=True)
            assert any("halved" in f.text and "repaired" in f.text for f in repaired)
            assert "error" not in levels(await Inspector(manager).diagnose()).values()
            assert not list(client.scan_iter("session:halved:*"))
            assert 500 < client.ttl("session:endless:history") <= 600
        assert await manager.get_active_sessions_count() == 3
        sessions = await manager.get_user_sessions("u")
        assert {s.session_id for s in sessions} == {"whole", "unindexed", "endless"}


async def test_a_session_that_waits_for_a_worker_and_lost_its_index_entry_is_found_and_repaired(
    redis_backend: ServerBackend,
) -> None:
    async with redis_backend.open() as manager:
        for name in ("waits", "answered", "listed", "without-turns"):
            await manager.create_session("u", session_id=name, turns=name != "without-turns")
            await manager.add_message(name, {"from": "user", "text": "x"})
        async with manager.turn("answered") as turn:
            await turn.reply("y")
        with redis_backend.server.client() as client:
            for key in client.scan_iter("sessions:turns:*"):
                client.zrem(key, "waits", "answered", "without-turns")
        assert await manager.pending_turns() == ["listed"]
        [found] = [finding for finding in await Inspector(manager).diagnose() if finding.subject == "turns"]
        assert (found.level, found.text) == (
            "error",
            "Found 1 sessions with unanswered messages that no worker would find: waits.",
        )
        await Inspector(manager).diagnose(repair=True)
        assert sorted(await manager.pending_turns()) == ["listed", "waits"]
        assert levels(await Inspector(manager).diagnose())["turns"] == "ok"


async def test_a_user_without_rights_to_the_desk_and_to_turns_is_told_what_to_grant(
    redis_backend: ServerBackend,
) -> None:
    rights = [right for right in ACL.split() if right not in ("~sessions:desk:*", "~sessions:turns:*", "~{desk}:*")]
    with redis_backend.server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">p", *rights)
        try:
            url = f"redis://app:p@127.0.0.1:{redis_backend.server.port}"
            async with SessionManager.from_url(url) as manager:
                await manager.create_session("u", session_id="s", turns=True)
                told = {each.subject: each.text for each in await Inspector(manager).diagnose() if "grant" in each.text}
        finally:
            client.execute_command("ACL", "DELUSER", "app")
    assert told.keys() == {"desk", "turns"}
    assert "~{desk}:* and ~sessions:desk:*" in told["desk"]
    assert "~sessions:turns:*" in told["turns"]


async def test_an_index_entry_whose_twin_is_gone_is_removed_by_the_next_list(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            client.delete("session:s:meta", *client.keys("sessions:due:*"))
            assert await manager.get_user_sessions("u") == []
            assert not client.exists("user:u:sessions")
            client.delete(*client.keys("session:s:*"))


async def test_a_session_of_another_program_is_indexed(redis_backend: ServerBackend) -> None:
    with redis_backend.server.client() as client:
        created = "2025-06-09T08:00:00.000Z"
        client.hset("session:node:meta", mapping={"userId": "u", "sessionId": "node", "createdAt": created})
        client.set("session:node:agent", "ai")
        for part in ("meta", "agent"):
            client.expire(f"session:node:{part}", 600)
    async with redis_backend.open() as manager:
        assert await manager.get_active_sessions_count() == 0
        await Inspector(manager).diagnose(repair=True)
        assert [s.session_id for s in await manager.get_user_sessions("u")] == ["node"]
        assert await manager.get_active_sessions_count() == 1


async def test_a_user_without_rights_to_ask_is_told_so(redis_backend: ServerBackend) -> None:
    with redis_backend.server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">p", "~*", "+@all", "-@dangerous", "-info", "-config")
        try:
            url = f"redis://app:p@127.0.0.1:{redis_backend.server.port}"
            async with SessionManager.from_url(url) as manager:
                assert levels(await Inspector(manager).diagnose())["server"] == "warning"
        finally:
            client.execute_command("ACL", "DELUSER", "app")


async def test_messages_without_a_session_are_found_in_a_file(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "chat.db")
    async with backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        await manager.add_message("s", {"from": "user", "text": "x"})
        with sqlite3.connect(tmp_path / "chat.db") as db:
            db.execute("DELETE FROM sessions")
        db.close()
        assert levels(await Inspector(manager).diagnose())["orphans"] == "error"
        await Inspector(manager).diagnose(repair=True)
        assert levels(await Inspector(manager).diagnose())["orphans"] == "ok"


async def test_every_damaged_session_is_named_and_hides_no_other(redis_backend: ServerBackend) -> None:
    names = ("good", "ttl", "created", "utf8", "history", "string", "count")
    async with redis_backend.open() as manager:
        for name in names:
            await manager.create_session("u", session_id=name, ttl=600)
            await manager.add_message(name, {"from": "user", "text": "x"})
        with redis_backend.server.client() as client:
            client.hset("session:ttl:meta", "ttl", "abc")
            client.hdel("session:created:meta", "createdAt")
            client.hset("session:utf8:meta", "name", b"\xff")
            client.hset("session:count:meta", "messageCount", "9" * 5000)
            client.delete("session:history:history", "session:string:meta")
            client.sadd("session:history:history", "x")
            client.set("session:string:meta", "x")
            try:
                named = {
                    f.text.split(" ")[0]
                    for f in await Inspector(manager).diagnose(repair=True)
                    if f.subject == "damage"
                }
                damaged = {f"session:{name}:meta" for name in names if name not in ("good", "history")}
                assert named == damaged | {"session:history:history"}
                page = await manager.list_user_sessions("u")
                assert {s.session_id for s in page.sessions} == {"good", "history"}
                assert {error.session_id for error in page.damaged} == set(names) - {"good", "history"}
                found = [each async for each in Inspector(manager).scan_sessions()]
                assert len(found) == len(names)
                assert sum(isinstance(each, StoreCorrupt) for each in found) == len(names) - 2
                listed = await Inspector(manager).list_sessions()
                assert (len(listed.sessions), len(listed.damaged)) == (2, len(names) - 2)
            finally:
                client.flushall()


async def test_another_programs_data_is_left_as_it_is(redis_backend: ServerBackend) -> None:
    with redis_backend.server.client() as client:
        client.set("session:foo:meta", "theirs")
        client.rpush("session:bar:history", "theirs", "too")
        client.hset("session:baz:ids", "a", "b")
        client.set("session:a/b:meta", "not even one of our ids")
        before = {key: client.dump(key) for key in client.scan_iter()}
        try:
            async with redis_backend.open() as manager:
                found = await Inspector(manager).diagnose(repair=True)
                assert any(f.subject == "foreign keys" and "bar" in f.text and "baz" in f.text for f in found)
                await manager.cleanup_expired_sessions()
            assert {key: client.dump(key) for key in client.scan_iter()} == before
        finally:
            client.flushall()


@pytest.mark.parametrize("topology", ["redis", "cluster"])
async def test_entries_in_a_wrong_bucket_or_that_name_nothing_are_put_right(
    start_empty: StartBackend, topology: str
) -> None:
    backend = start_empty(topology)
    keys = backend.keys
    async with backend.open() as manager:
        await manager.create_session("u", session_id="lives", ttl=600)
        wrong = next(bucket for bucket in keys.due_buckets() if bucket != keys.due("lives"))
        strays = {b"lives/u": 1, b"no separator": 2, b"\xff\xfe/u": 3, b"a b/u": 4}
        with backend.server.client() as client:
            client.zadd(wrong, strays)
            found = levels(await Inspector(manager).diagnose())
            assert found["stray entries"] == "error"
            async with asyncio.timeout(10):
                assert await manager.get_active_sessions_count() == 1
                assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
            assert client.zcard(wrong) == 0
            client.zadd(wrong, dict.fromkeys(strays, 4000000000000))
            await Inspector(manager).diagnose(repair=True)
            assert client.zcard(wrong) == 0
            assert await manager.get_active_sessions_count() == 1
