"""Streaming replies on Redis: the string beside the session, its deadline, and what watchers are told."""

import json
from typing import Any

import pytest

from chat_session import Inspector, TurnLost, growing_text
from chat_session.testing import until
from chat_session.testing.replies.scene import (
    OTHER,
    REPLY,
    Listener,
    begin,
    lose,
    take,
    until_over,
    until_shown,
)
from chat_session.testing.turns.scene import LONG_LEASE, create_asking, history
from testkit.backends import ServerBackend, StartBackend

META, DRAFT, FEED = "session:s:meta", "session:s:draft", "session:s:feed"


def stored(client: Any) -> tuple[str | None, bytes | None]:
    """The field, and the text."""
    field = client.hget(META, "cs:draft")
    return field and field.decode(), client.get(DRAFT)


def left(client: Any) -> tuple[float, float]:
    """Seconds that are left of the text and of the turn."""
    seconds, microseconds = client.time()
    deadline = int(client.hget(META, "cs:turn").split()[1])
    return client.pttl(DRAFT) / 1000, deadline / 1000 - seconds - microseconds / 1e6


async def test_what_is_stored_of_a_reply(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            await create_asking(manager, "s")
            worker = await take(manager)
            await worker.begin(author='a "b"')
            assert stored(client) == (f"{REPLY} 0 growing " + json.dumps('a "b"'), b"")
            await worker.write(0, b"hello")
            assert stored(client) == (f"{REPLY} 0 growing " + json.dumps('a "b"'), b"hello")
            await worker.commit("hello you")
            assert stored(client) == (f"{REPLY} committed 2", None)
            await worker.begin(OTHER)
            assert stored(client) == (f"{OTHER} 0 growing", b"")
            await worker.abort("failed", OTHER)
            assert stored(client) == (f"{OTHER} aborted failed", None)


async def test_the_text_is_gone_in_the_millisecond_in_which_the_turn_is_over(redis_backend: ServerBackend) -> None:
    """A server removes a key only after its deadline."""
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            worker = await begin(manager, lease=60)
            for _ in range(2):
                turn_deadline = int(client.hget(META, "cs:turn").split()[1])
                assert client.execute_command("PEXPIRETIME", DRAFT) == turn_deadline - 1
                await manager._turns.renew_turn("s", worker.token, LONG_LEASE)


async def test_the_text_ends_with_the_turn_and_is_renewed_with_it(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            worker = await begin(manager, lease=60)
            text, turn = left(client)
            assert 50 < text <= 60
            assert abs(text - turn) < 1
            await worker.write(0, b"hello")  # a delta does not move it
            assert left(client)[0] <= text
            await manager._turns.renew_turn("s", worker.token, LONG_LEASE)
            text, turn = left(client)
            assert text > LONG_LEASE - 50
            assert abs(text - turn) < 1


async def test_a_delta_brings_no_text_back_that_is_gone(redis_backend: ServerBackend) -> None:
    """As after an eviction, or a failover that lost the beginning: it would stay for ever."""
    async with redis_backend.open() as manager:
        worker = await begin(manager, b"hello")
        with redis_backend.server.client() as client:
            client.delete(DRAFT)
            assert (await until_over(worker)).reason == "expired"
            assert client.exists(DRAFT) == 0
        assert await worker.commit_partial("hello") is None
        await worker.begin(OTHER)  # the turn is held
        await worker.commit("hello", OTHER)
        assert await history(manager, "s") == ["question in s", "hello"]


async def test_a_stop_leaves_the_text_until_its_worker_has_ended_the_reply(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            worker = await begin(manager, b"hello")
            await lose(manager, "stopped")
            assert stored(client) == (f"{REPLY} aborted stopped", b"hello")
            assert client.pttl(DRAFT) > 0
            await worker.abort("stopped")
            assert stored(client) == (f"{REPLY} aborted stopped", None)


@pytest.mark.parametrize("how", ["delete", "erase"])
async def test_the_text_goes_with_its_session(redis_backend: ServerBackend, how: str) -> None:
    async with redis_backend.open() as manager:
        await begin(manager, b"hello")
        if how == "delete":
            assert (await manager.delete_session("s")).deleted_keys == 4
        else:
            await manager.erase_user("u")
        with redis_backend.server.client() as client:
            assert client.keys("session:*") == []


async def test_the_doctor_takes_the_text_for_ours(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await begin(manager, b"hello")
        with redis_backend.server.client() as client:
            client.delete(META, "session:s:agent", "session:s:history", "session:s:ids")  # the session has expired
        findings = await Inspector(manager).diagnose()
        assert [each for each in findings if each.subject in ("orphans", "foreign keys") and each.level != "ok"] == []


@pytest.mark.parametrize("store", ["redis", "redis62", "valkey"])
async def test_watchers_are_told_of_every_change_of_a_reply(start_empty: StartBackend, store: str) -> None:
    backend = start_empty(store)
    async with backend.open() as manager:
        with backend.server.client() as client:
            await create_asking(manager, "s")
            worker = await take(manager)
            pubsub = client.pubsub(ignore_subscribe_messages=True)
            is_sharded = store != "redis62"
            (pubsub.ssubscribe if is_sharded else pubsub.subscribe)(FEED)

            def told() -> int:
                read = pubsub.get_sharded_message if is_sharded else pubsub.get_message
                count = 0
                while (message := read(timeout=0.2)) is not None:
                    assert (message["channel"], message["data"]) == (FEED.encode(), b"")
                    count += 1
                return count

            (pubsub.get_sharded_message if is_sharded else pubsub.get_message)(timeout=1)
            await worker.begin()
            assert told() == 1
            await worker.write(0, b"hello")
            assert told() == 1
            await worker.write(0, b"hello")
            await worker.write(9, b"hello")
            assert told() == 0
            await manager._turns.renew_turn("s", worker.token, LONG_LEASE)
            assert told() == 0
            await worker.commit("hello")
            assert told() == 1
            await worker.begin(OTHER)
            await worker.abort("failed", OTHER)
            assert told() == 2
            await worker.abort("failed", OTHER)
            assert told() == 0
            await worker.begin("c" * 32)
            await worker.write(0, b"hello", "c" * 32)
            await worker.commit_partial("hello", reply_id="c" * 32)
            assert told() == 3
            await worker.begin("d" * 32)
            await lose(manager, "stopped")
            assert told() == 2
            pubsub.close()


@pytest.mark.parametrize("how", ["release_turn", "take_turn"])
async def test_watchers_are_told_when_a_turn_ends_with_a_reply(redis_backend: ServerBackend, how: str) -> None:
    async with redis_backend.open() as manager:
        worker = await begin(manager, b"hello", lease=0.2 if how == "take_turn" else LONG_LEASE)
        with redis_backend.server.client() as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.ssubscribe(FEED)
            pubsub.get_sharded_message(timeout=1)
            if how == "release_turn":
                await worker.release()
            else:
                async with manager.turn("s", wait=20):
                    pass
            message = pubsub.get_sharded_message(timeout=5)
            assert message is not None
            assert message["channel"] == FEED.encode()


async def test_a_reply_is_aborted_on_a_server_that_is_full(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        with redis_backend.server.client() as client:
            worker = await begin(manager, b"hello")
            client.config_set("maxmemory", 1)
            try:
                await worker.abort()
            finally:
                client.config_set("maxmemory", 0)
            assert stored(client) == (f"{REPLY} aborted failed", None)


async def test_deltas_of_a_reply_go_on_after_the_store_was_away(
    redis_backend: ServerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full server refuses them for a while."""
    monkeypatch.setattr(growing_text, "AFTER_FAULT", 0.01)
    listener = Listener()
    async with redis_backend.open(hooks=[listener]) as manager:
        await create_asking(manager, "s")
        with redis_backend.server.client() as client:
            async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
                client.config_set("maxmemory", 1)
                try:
                    await reply.write("hello")

                    async def were_refused() -> bool:
                        return listener.deltas > 1

                    await until(were_refused)
                    assert client.get(DRAFT) == b""
                finally:
                    client.config_set("maxmemory", 0)
                await reply.write(" you")
                await until_shown(reply, 9)
                assert client.get(DRAFT) == b"hello you"
        assert await history(manager, "s") == ["question in s", "hello you"]


async def test_a_user_without_the_right_to_any_channel_streams_all_the_same(start_empty: StartBackend) -> None:
    backend = start_empty("tls")  # its user has the documented rights
    async with backend.open() as manager:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("hello")
        assert await history(manager, "s") == ["question in s", "hello"]


async def test_a_session_without_a_reply_has_no_more_keys_or_fields(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            await turn.reply("hello")
        with redis_backend.server.client() as client:
            assert stored(client) == (None, None)


async def test_damaged_fields_end_no_script_by_an_error(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        worker = await begin(manager, b"hello")
        with redis_backend.server.client() as client:
            for damage in ("", "x", "a b", "\xff\x00", f"{REPLY}", f"{REPLY} growing"):
                client.hset(META, "cs:draft", damage)
                with pytest.raises(TurnLost):
                    await worker.write(5, b" you")
                await worker.abort()
        await worker.begin(OTHER)
        assert await worker.write(0, b"fine", OTHER) == 4
