"""Who listens on Redis is woken: by notifications, on one connection to each server, and by polling where none come."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from chat_session import Desk, SessionManager
from chat_session.errors import StoreCorrupt
from chat_session.storage.contract import Edit, Observation, Position, ReplyState
from chat_session.storage.redis.feed import hub, polling, subscription
from chat_session.storage.redis.feed.store import RedisFeed
from chat_session.testing import until
from testkit.backends import (
    ClusterBackend,
    SentinelBackend,
    ServerBackend,
    StartBackend,
    start_backend_in_thread,
    start_server,
    store_of,
)
from testkit.servers import Server

TEXT = {"from": "user", "text": "x"}
WITHIN = 2.0 + 1.5  # seconds: what is promised, and a loaded machine
Change = Callable[[SessionManager], Awaitable[Any]]


class Ear:
    """Listens, and counts how often it is woken; ``news`` are what is not stored."""

    def __init__(self, manager: SessionManager, session_id: str | None = "s") -> None:
        self.count = 0
        self.news: list[bytes] = []
        self._woken = asyncio.Event()
        self.leave = feed_of(manager).listen(session_id, self._wake)

    def _wake(self, news: bytes | None) -> None:
        self.count += news is None
        self.news += [] if news is None else [news]
        self._woken.set()

    async def hear(self, within: float = 10.0) -> None:
        """Wait until it is woken once more than it was noticed."""
        async with asyncio.timeout(within):
            await self._woken.wait()
        self._woken.clear()

    async def settle(self, manager: SessionManager, *others: "Ear") -> None:
        """Wait until it is subscribed and polled once, which both wake, and forget that."""

        async def is_settled() -> bool:
            channels = feed_of(manager)._hub._channels.values()
            return all(channel.is_live and channel.mark is not None for channel in channels)

        await until(is_settled)
        for ear in (self, *others):
            ear._woken.clear()
            ear.count = 0


def feed_of(manager: SessionManager) -> RedisFeed:
    feed: RedisFeed = store_of(manager).feed
    return feed


def subscriptions_of(backend: ServerBackend | SentinelBackend) -> list[dict[str, str]]:
    """The connections that the server has for those who listen."""
    with backend.clients() as clients:
        return [c for client in clients for c in client.client_list() if c["sub"] != "0" or c.get("ssub", "0") != "0"]


def tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.fixture
def without_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one, at the beginning."""
    monkeypatch.setattr(polling, "INTERVAL", 3600.0)


@pytest.fixture(params=["redis", "redis62", "valkey"])
def server(request: pytest.FixtureRequest, start_empty: StartBackend) -> ServerBackend:
    backend = start_empty(request.param)
    assert isinstance(backend, ServerBackend)
    return backend


@pytest.fixture
async def manager(redis_backend: ServerBackend) -> AsyncIterator[SessionManager]:
    async with redis_backend.open() as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        yield manager


@pytest.fixture
def cluster(start_empty: StartBackend) -> ClusterBackend:
    backend = start_empty("cluster")
    assert isinstance(backend, ClusterBackend)
    return backend


@pytest.fixture
def frozen_later(own_server: Server) -> Iterator[Server]:
    yield own_server
    own_server.thaw()


async def retract(manager: SessionManager) -> None:
    await manager.add_message("s", {**TEXT, "id": "m"})
    await manager.retract_message("s", "m")


async def recreate(manager: SessionManager) -> None:
    await manager.delete_session("s")
    await manager.create_session("ann", session_id="s", ttl=600)


async def reply_in_turn(manager: SessionManager) -> None:
    async with manager.turn("s") as turn:
        await turn.reply("Here it is.")


CHANGES: dict[str, tuple[int, Change]] = {  # how many notifications each causes
    "append": (1, lambda m: m.add_message("s", TEXT)),
    "append with a condition": (1, lambda m: m.add_messages("s", [TEXT], expect_seq=0)),
    "metadata in an append": (1, lambda m: m.add_messages("s", [TEXT], metadata={"a": 1})),
    "retract": (2, retract),
    "clear": (1, lambda m: m.clear_history("s")),
    "switch": (1, lambda m: m.switch_agent("s", "human")),
    "lifetime": (1, lambda m: m.set_session_ttl("s", 60)),
    "metadata": (1, lambda m: m.update_session("s", {"a": 1})),
    "increment": (1, lambda m: m.increment("s", "n")),
    "user": (1, lambda m: m.assign_session("s", "bob")),
    "delete": (1, lambda m: m.delete_session("s")),
    "delete and create": (2, recreate),
    "turn": (1, reply_in_turn),
    "desk": (1, lambda m: Desk(m).request_human("s")),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_wakes_who_listens_once(manager: SessionManager, without_polls: None, change: str) -> None:
    ear, other = Ear(manager), Ear(manager, "other")
    await ear.settle(manager, other)
    times, make = CHANGES[change]
    await make(manager)
    await feed_of(manager).tell("s", b"last")
    while not ear.news:
        await ear.hear()
    assert (ear.count, other.count) == (times, 0)


async def test_what_changes_nothing_wakes_nobody(manager: SessionManager, without_polls: None) -> None:
    await manager.add_message("s", {**TEXT, "id": "m"})
    ear = Ear(manager)
    await ear.settle(manager)
    await manager.add_message("s", {**TEXT, "id": "m"})
    await manager.get_history("s")
    await manager.extend_session("s")
    async with manager.turn("s"):
        pass
    await feed_of(manager).tell("s", b"last")
    await ear.hear()
    assert (ear.count, ear.news) == (0, [b"last"])


@pytest.mark.usefixtures("without_polls")
async def test_a_notification_arrives_on_every_server(server: ServerBackend) -> None:
    async with server.open() as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        ear = Ear(manager)
        await ear.settle(manager)
        await manager.add_message("s", TEXT)
        await ear.hear()
        [client] = subscriptions_of(server)
        sharded = server.on_primaries("INFO", "server")[0]["redis_version"] >= "7"
        assert client["cmd"] == ("ssubscribe" if sharded else "subscribe")


@pytest.mark.usefixtures("without_polls")
async def test_the_desk_s_steps_wake_who_listens_to_it(manager: SessionManager) -> None:
    desk = Desk(manager)
    ear = Ear(manager, None)
    await ear.settle(manager)
    for step in (
        lambda: desk.request_human("s"),
        lambda: desk.operator_seen("mei", capacity=3),
        lambda: desk.operator_seen("mei", available=False),
        lambda: desk.claim_next("mei"),
        lambda: desk.hand_back("s", "mei"),
    ):
        before = ear.count
        await step()
        while ear.count == before:
            await ear.hear()


@pytest.mark.usefixtures("without_polls")
async def test_an_operator_s_heartbeat_wakes_nobody(manager: SessionManager) -> None:
    desk = Desk(manager)
    await desk.operator_seen("mei")
    ear = Ear(manager, None)
    await ear.settle(manager)
    await desk.operator_seen("mei")
    assert ear.count == 0
    await desk.operator_seen("mei", available=False)
    await ear.hear()
    assert ear.count == 1


async def test_five_hundred_listeners_share_one_connection(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    ears = [Ear(manager, f"s{n % 400}") for n in range(500)]
    await ears[0].settle(manager, *ears)
    [client] = subscriptions_of(redis_backend)
    assert int(client["ssub"]) == 400
    await manager.create_session("ann", session_id="s7", ttl=600)
    await asyncio.gather(ears[7].hear(), ears[407].hear())


async def test_a_listener_that_comes_later_is_woken_too(manager: SessionManager, without_polls: None) -> None:
    await Ear(manager).settle(manager)
    await Ear(manager).hear()


@pytest.mark.usefixtures("without_polls")
async def test_a_connection_that_is_cut_is_made_again_and_wakes(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    ear = Ear(manager)
    await ear.settle(manager)
    for _ in range(5):
        [client] = subscriptions_of(redis_backend)
        redis_backend.on_primaries("CLIENT", "KILL", "ID", client["id"])
        await ear.hear()
        await manager.add_message("s", TEXT)
        await ear.hear()


async def test_without_the_right_to_channels_it_is_polled_and_said_once(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "chat", "on", ">pw", "~*", "resetchannels", "+@all")
        url = own_server.url.replace("//", "//chat:pw@")
        with caplog.at_level(logging.WARNING, "chat_session"):
            async with SessionManager.from_url(url) as manager:
                await manager.create_session("ann", session_id="s", ttl=600)
                ears = [Ear(manager), Ear(manager, "other"), Ear(manager, None)]
                for ear in ears:
                    await ear.hear()
                late = Ear(manager)
                await late.hear(0.5)
                await asyncio.sleep(0)
                for _ in range(2):
                    await manager.add_message("s", TEXT)
                    await ears[0].hear(WITHIN)
                await feed_of(manager).tell("s", b"typing")
        assert client.execute_command("ACL", "LOG") == []
    said = [record.getMessage() for record in caplog.records if "channels" in record.getMessage()]
    assert len(said) == 1


async def test_on_the_oldest_server_a_missing_right_is_said_once_too(
    server_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ASK_AGAIN", 0.2)
    with start_server("redis62", Path(tempfile.mkdtemp(dir=server_folder))) as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "chat", "on", ">pw", "~*", "resetchannels", "+@all")
        with caplog.at_level(logging.WARNING, "chat_session"):
            async with SessionManager.from_url(server.url.replace("//", "//chat:pw@")) as manager:
                await manager.create_session("ann", session_id="s", ttl=600)
                ears = [Ear(manager), Ear(manager, "other"), Ear(manager, None)]
                for ear in ears:
                    await ear.hear()
                await manager.add_message("s", TEXT)
                await ears[0].hear(WITHIN)
                client.execute_command("ACL", "SETUSER", "chat", "allchannels")
                await ears[0].settle(manager, *ears)
    assert len([record for record in caplog.records if "channels" in record.getMessage()]) == 1


async def test_the_right_is_asked_for_again_after_a_while(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ASK_AGAIN", 0.05)
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "chat", "on", ">pw", "~*", "resetchannels", "+@all")
        async with SessionManager.from_url(own_server.url.replace("//", "//chat:pw@")) as manager:
            ear = Ear(manager)
            await ear.hear()
            ear.leave()
            again = Ear(manager)
            await again.hear()
            client.execute_command("ACL", "SETUSER", "chat", "allchannels")
            await again.settle(manager)


async def test_what_another_program_changes_is_found_within_two_seconds(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    await manager.add_message("s", TEXT)
    ear, idle = Ear(manager), Ear(manager, "idle")
    await ear.settle(manager, idle)
    redis_backend.on_primaries("RPUSH", "session:s:history", '{"id":"m","from":"user","text":"hi"}')
    await ear.hear(WITHIN)
    redis_backend.on_primaries("HSET", "session:s:meta", "cs:draft", "r 0 growing ")
    await ear.hear(WITHIN)
    redis_backend.on_primaries("SET", "session:s:draft", "", "EX", 60)
    await ear.hear(WITHIN)
    redis_backend.on_primaries("APPEND", "session:s:draft", "so far")
    await ear.hear(WITHIN)
    redis_backend.on_primaries("UNLINK", "session:s:draft")
    await ear.hear(WITHIN)
    redis_backend.on_primaries("UNLINK", "session:s:meta")
    await ear.hear(WITHIN)
    redis_backend.on_primaries("SET", "session:s:meta", "damaged", "EX", 60)
    await ear.hear(WITHIN)
    assert idle.count == 0


async def test_a_change_of_the_desk_that_was_not_told_is_found(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    desk = Desk(manager)
    await desk.request_human("s")
    ear = Ear(manager, None)
    await ear.settle(manager)
    redis_backend.on_primaries("ZADD", "{desk}:queue", 1, "other")
    await ear.hear(WITHIN)
    redis_backend.on_primaries("ZADD", "{desk}:presence", "1e15", "mei")
    await ear.hear(WITHIN)


@pytest.mark.usefixtures("without_polls")
async def test_news_are_told_to_all_who_listen_in_the_same_database(redis_backend: ServerBackend) -> None:
    other_url = redis_backend.server.unix_url(1)
    async with redis_backend.open() as one, redis_backend.open() as two, SessionManager.from_url(other_url) as other:
        ears = [Ear(one), Ear(two), Ear(other)]
        for ear, manager in zip(ears, (one, two, other), strict=True):
            await ear.settle(manager)
        await feed_of(other).tell("s", b"elsewhere")
        await feed_of(one).tell("s", b"mei types \x00\xff")
        await ears[0].hear()
        await ears[1].hear()
        await ears[2].hear()
        assert [ear.news for ear in ears] == [[b"mei types \x00\xff"], [b"mei types \x00\xff"], [b"elsewhere"]]


async def test_news_to_a_server_that_is_away_raise_nothing() -> None:
    async with SessionManager.from_url("redis://127.0.0.1:1/0", store_timeout=0.2) as manager:
        await feed_of(manager).tell("s", b"typing")


@pytest.mark.usefixtures("without_polls")
@pytest.mark.parametrize(
    "options",
    [
        {"protocol": 2},
        {"protocol": 3},
        {"protocol": 2, "decode_responses": True},
        {"protocol": 3, "decode_responses": True},
        {"protocol": 3, "socket_timeout": 0.2, "health_check_interval": 1},
        {"max_connections": 1},
        {"single_connection_client": True},
        {"db": 3, "protocol": 2},
    ],
    ids=str,
)
async def test_a_client_of_any_kind_lends_no_connection(redis_backend: ServerBackend, options: dict[str, Any]) -> None:
    async with Redis(unix_socket_path=str(redis_backend.server.socket), **options) as client:
        async with SessionManager(client) as manager:
            await manager.create_session("ann", session_id="s", ttl=60)
            ear = Ear(manager)
            await ear.settle(manager)
            await asyncio.sleep(0.5 if "socket_timeout" in options else 0)  # longer than its timeout
            ear.count = 0
            await asyncio.gather(*(manager.add_message("s", TEXT) for _ in range(20)))
            await feed_of(manager).tell("s", b"last")
            while not ear.news:
                await ear.hear()
            assert ear.count == 20
            assert len(subscriptions_of(redis_backend)) == 1
        assert await client.ping()


@pytest.mark.usefixtures("without_polls")
async def test_a_server_that_falls_silent_is_left_and_found_again(
    frozen_later: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "PING_EVERY", 0.1)
    monkeypatch.setattr(subscription, "CONNECT_TIMEOUT", 0.3)
    async with SessionManager.from_url(frozen_later.url, store_timeout=0.5) as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        ear = Ear(manager)
        await ear.settle(manager)
        await asyncio.sleep(0.5)  # it answers some pings
        assert ear.count == 0
        frozen_later.freeze()
        channel = next(iter(feed_of(manager)._hub._channels.values()))

        async def is_lost() -> bool:
            return not channel.is_live

        await until(is_lost)
        frozen_later.thaw()
        await ear.hear()
        await manager.add_message("s", TEXT)
        await ear.hear()


async def test_nothing_runs_while_nobody_listens(redis_backend: ServerBackend, manager: SessionManager) -> None:
    await manager.get_session("s")
    await asyncio.sleep(0)
    before = tasks()
    for _ in range(2):
        ears = [Ear(manager), Ear(manager), Ear(manager, "other"), Ear(manager, None)]
        await ears[0].settle(manager)
        for ear in ears:
            ear.leave()
            ear.leave()

        async def is_quiet() -> bool:
            return tasks() <= before and not subscriptions_of(redis_backend)

        await until(is_quiet)


@pytest.mark.parametrize("moment", ["at once", "connected"])
async def test_close_ends_all_that_runs(redis_backend: ServerBackend, moment: str) -> None:
    before = tasks()
    manager = redis_backend.open()
    ears = [Ear(manager), Ear(manager, None)]
    if moment == "connected":
        await ears[0].settle(manager)
    await manager.close()
    assert tasks() <= before
    ears[0].leave()
    Ear(manager, "later")
    assert tasks() <= before


@pytest.mark.usefixtures("without_polls")
async def test_a_channel_follows_its_slot_to_another_node(cluster: ClusterBackend) -> None:
    async with cluster.open() as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        ear, other = Ear(manager), Ear(manager, "t")
        await ear.settle(manager, other)
        slot = key_slot(b"session:{s}:meta")
        for _ in range(3):
            owner = cluster.server.owners()[slot]
            target = next(server for server in cluster.server.primaries() if server is not owner)
            await asyncio.to_thread(cluster.server.migrate_slot, slot, target)
            await ear.hear()
            await ear.settle(manager)
            await manager.add_message("s", TEXT)
            await ear.hear()
        nodes = len(feed_of(manager)._hub._subscriptions)
        assert 1 <= nodes <= 2
        await asyncio.to_thread(cluster.server.wait_until_healthy)


async def test_listeners_hear_from_the_new_primary_after_a_failover(server_folder: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=server_folder))
    async with start_backend_in_thread("sentinel", folder / "f") as backend:
        assert isinstance(backend, SentinelBackend)
        async with backend.open(store_timeout=2.0) as manager:
            await manager.create_session("ann", session_id="s", ttl=600)
            ear = Ear(manager)
            await ear.settle(manager)
            old = backend.server.kill_primary()
            await asyncio.to_thread(backend.server.wait_for_failover, old)

            async def is_live() -> bool:
                return (
                    len(await asyncio.to_thread(subscriptions_of, backend)) >= 1
                    and next(iter(feed_of(manager)._hub._channels.values())).is_live
                )

            await until(is_live, 30)
            await manager.add_message("s", TEXT)
            await ear.hear()


async def look(manager: SessionManager, position: Position, size: int = 10_000) -> Observation:
    found = await feed_of(manager).observe("s", position, size)
    assert found is not None
    return found


def texts(found: Observation) -> list[str]:
    return [message.text for message in found.messages]


async def test_a_look_has_what_follows_the_position(manager: SessionManager) -> None:
    session = await manager.get_session("s")
    assert await look(manager, Position(0)) == Observation(
        session=session,  # type: ignore[arg-type]
        incarnation=(await look(manager, Position(0))).incarnation,
        expires=True,
        first=1,
        last=0,
        trimmed=0,
        edits=[],
        told=None,
        messages=[],
        reply=None,
    )
    await manager.add_messages("s", [{"from": "user", "text": f"m{n}"} for n in range(1, 6)])
    found = await look(manager, Position(0))
    assert (found.first, found.last, found.told, texts(found)) == (1, 5, None, ["m1", "m2", "m3", "m4", "m5"])
    assert [message.seq for message in found.messages] == [1, 2, 3, 4, 5]
    found = await look(manager, Position(3))
    assert found.told is not None
    assert (found.told.text, found.told.seq, texts(found)) == ("m3", 3, ["m4", "m5"])
    assert [message.seq for message in found.messages] == [4, 5]
    found = await look(manager, Position(5))
    assert found.told is not None
    assert (found.told.text, texts(found)) == ("m5", [])
    found = await look(manager, Position(9))  # a failover has lost some
    assert (found.last, found.told, texts(found)) == (5, None, [])
    found = await look(manager, Position(-1))
    assert (found.first, found.last, found.told, texts(found)) == (1, 5, None, [])


async def test_a_look_has_as_many_bytes_as_were_asked_for_and_one_message_at_least(manager: SessionManager) -> None:
    await manager.add_messages("s", [{"from": "user", "text": f"{n}" * 400} for n in range(1, 8)])
    for position in (0, 2):
        for size, count in ((0, 1), (1, 1), (600, 2), (1100, 3), (10_000, 7 - position)):
            assert len((await look(manager, Position(position), size)).messages) == count


async def test_a_look_behind_what_was_trimmed_begins_with_the_oldest(redis_backend: ServerBackend) -> None:
    async with redis_backend.open(max_message_history=3) as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        await manager.add_messages("s", [{"from": "user", "text": f"m{n}"} for n in range(1, 6)])
        for position in (0, 1, 2):
            found = await look(manager, Position(position))
            assert (found.first, found.trimmed, found.told, texts(found)) == (3, 2, None, ["m3", "m4", "m5"])
            assert [message.seq for message in found.messages] == [3, 4, 5]


async def test_the_newest_trimmed_message_is_one_that_the_customer_could_see(redis_backend: ServerBackend) -> None:
    seen: list[int] = []
    async with redis_backend.open(max_message_history=2) as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        for internal in (False, True, True, False, True, False, False):  # 1 4 6 7 are visible
            await manager.add_message("s", {**TEXT, "internal": internal})
            seen.append((await look(manager, Position(-1))).trimmed)
        assert seen == [0, 0, 1, 1, 1, 4, 4]
        await manager.add_messages("s", [{**TEXT, "internal": n != 2} for n in range(6)])  # 8 to 13, 10 is visible
        assert (await look(manager, Position(-1))).trimmed == 10
        await manager.add_messages("s", [{**TEXT, "internal": True} for _ in range(6)])  # 14 to 19
        assert (await look(manager, Position(-1))).trimmed == 10
        await manager.replace_history("s", [{**TEXT, "internal": n > 1} for n in range(6)])  # 20 and 21 are visible
        assert (await look(manager, Position(-1))).trimmed == 21
        await manager.add_message("s", {**TEXT, "id": "m", "internal": True})
        await manager.retract_message("s", "m")
        await manager.add_messages("s", [TEXT, TEXT])
        found = await look(manager, Position(-1))
        assert (found.first, found.trimmed) == (27, 21)


async def test_a_look_lists_the_changes_that_were_no_appends(manager: SessionManager) -> None:
    await manager.add_messages("s", [{**TEXT, "id": f"m{n}"} for n in range(4)])
    await manager.retract_message("s", "m1")
    await manager.pop_messages("s", 2)
    await manager.clear_history("s")
    edits = (await look(manager, Position(0))).edits
    assert [edit[:3] for edit in edits] == [(1, 2, 2), (2, 3, 4), (3, 0, 0)]
    assert all(isinstance(edit, Edit) and len(edit.tag) == 2 for edit in edits)


async def test_each_session_of_an_id_has_its_own_incarnation(manager: SessionManager) -> None:
    before = await look(manager, Position(0))
    await manager.add_message("s", TEXT)
    assert (await look(manager, Position(0))).incarnation == before.incarnation
    await recreate(manager)
    after = await look(manager, Position(0))
    assert after.incarnation != before.incarnation
    assert len(after.incarnation) == 8
    await manager.set_session_ttl("s", None)
    assert not (await look(manager, Position(0))).expires
    await manager.delete_session("s")
    assert await feed_of(manager).observe("s", Position(0), 100) is None


REPLIES: list[tuple[str, str | None, ReplyState]] = [
    ("r 0 growing ", "", ReplyState("r", "growing")),
    ('r 0 growing "Mei \\u4e2d"', "so far", ReplyState("r", "growing", "Mei \u4e2d", offset=0, text=b"so far")),
    ("r 0 growing ", None, ReplyState("r", "aborted", reason="expired")),
    ("r 1 growing ", "so far", ReplyState("r", "aborted", reason="taken_over")),
    ("r committed 12", None, ReplyState("r", "committed", seq=12)),
    ("r aborted stopped", None, ReplyState("r", "aborted", reason="stopped")),
]


@pytest.mark.parametrize(("stored", "text", "state"), REPLIES, ids=[stored for stored, _, _ in REPLIES])
async def test_a_look_has_the_state_of_the_last_reply(
    redis_backend: ServerBackend, manager: SessionManager, stored: str, text: str | None, state: ReplyState
) -> None:
    redis_backend.on_primaries("HSET", "session:s:meta", "cs:draft", stored)
    if text is not None:
        redis_backend.on_primaries("SET", "session:s:draft", text, "EX", 60)
    assert (await look(manager, Position(0))).reply == state


async def test_a_look_has_the_text_of_a_reply_behind_the_offset(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    redis_backend.on_primaries("HSET", "session:s:meta", "cs:draft", "r 0 growing ")
    redis_backend.on_primaries("SET", "session:s:draft", "0123456789", "EX", 60)
    looks = {
        Position(-1, "r", 4): (4, b"456"),
        Position(-1, "r", 8): (8, b"89"),
        Position(-1, "r", 10): (10, b""),
        Position(-1, "r", 99): (99, b""),
        Position(-1, "other", 4): (0, b"012"),
        Position(-1): (0, b"012"),
    }
    for position, expected in looks.items():
        reply = (await look(manager, position, 3)).reply
        assert reply is not None
        assert (reply.state, (reply.offset, reply.text)) == ("growing", expected)


async def test_a_look_counts_what_another_program_has_pushed(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    await manager.add_message("s", TEXT)
    redis_backend.on_primaries("RPUSH", "session:s:history", '{"id":"m","from":"user","text":"pushed"}', "broken")
    found = await look(manager, Position(1))
    assert (found.first, found.last) == (1, 3)
    assert [(message.seq, message.type) for message in found.messages] == [(2, None), (3, "unreadable")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messageCount", "x"),
        ("createdAt", "x"),
        ("cs:edits", "x"),
        ("cs:edits", "1:x-y:ab"),
        ("cs:trimmed", "x"),
        ("cs:draft", "x"),
        ("cs:draft", "r 0 shrinking "),
        ("cs:draft", "r 0 growing {"),
        ("cs:draft", "r committed x"),
    ],
)
async def test_a_look_at_a_damaged_session_says_so(
    redis_backend: ServerBackend, manager: SessionManager, field: str, value: str
) -> None:
    redis_backend.on_primaries("HSET", "session:s:meta", field, value)
    with pytest.raises(StoreCorrupt):
        await look(manager, Position(0))


async def test_a_look_with_keys_of_the_wrong_type_says_so(
    redis_backend: ServerBackend, manager: SessionManager
) -> None:
    redis_backend.on_primaries("SET", "session:s:history", "x", "EX", 60)
    with pytest.raises(StoreCorrupt, match="history"):
        await look(manager, Position(0))


async def test_a_look_works_on_every_server(server: ServerBackend) -> None:
    async with server.open() as manager:
        await manager.create_session("ann", session_id="s", ttl=600)
        await manager.add_messages("s", [TEXT, TEXT])
        assert len((await look(manager, Position(1))).messages) == 1
