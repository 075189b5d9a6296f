"""A server that is away, slow, full, forbidden, foreign or broken gives its own clear error, in time."""

import asyncio
import gc
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from chat_session import (
    Agent,
    Hooks,
    SessionManager,
    SessionNotFound,
    StoreCorrupt,
    StoreDenied,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)
from chat_session.storage.redis.net.connection import ServerConnection
from chat_session.storage.redis.net.faults import NoReply
from chat_session.storage.redis.net.private import transport_of
from chat_session.storage.redis.net.wire import WireCommand, pack_command
from chat_session.storage.redis.scripts.loading import load
from chat_session.testing import until
from testkit.backends import ServerBackend, start_server, store_of
from testkit.fault_proxy import FaultProxy
from testkit.ports import free_port
from testkit.present import present
from testkit.servers import DURABLE, Server

TEXT = {"from": "user", "text": "the text of a message"}


class Heard(Hooks):
    """What the hooks were told."""

    def __init__(self) -> None:
        self.retries: list[str] = []
        self.up: list[bool] = []

    def retried(self, name: str, attempt: int, reason: str) -> None:
        self.retries.append(reason)

    def store_up(self, up: bool) -> None:
        self.up.append(up)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., SessionManager]]:
    opened = []

    def make(url: str, **settings: Any) -> SessionManager:
        opened.append(SessionManager.from_url(url, **{"redis_retry_delay": 20, "store_timeout": 5.0, **settings}))
        return opened[-1]

    yield make
    for manager in opened:
        await manager.close()


def once(fault: str) -> Callable[[], str]:
    """The next reply gets the fault; those after it pass."""
    faults = iter((fault,))
    return lambda: next(faults, "pass")


async def create_sessions(manager: SessionManager, count: int) -> None:
    """When this returns, the manager has also read the server's settings, which it does after the first answer."""
    for i in range(count):
        await manager.create_session("u", session_id=f"s{i}", ttl=600)
    await store_of(manager)._executor._checking


async def test_a_server_that_is_away_is_unavailable_after_retries_within_the_deadline(
    connect: Callable[..., SessionManager],
) -> None:
    heard = Heard()
    manager = connect(f"redis://127.0.0.1:{free_port()}", hooks=[heard], redis_max_retries=3)
    started = time.perf_counter()
    with pytest.raises(StoreUnavailable) as failed:
        await manager.create_session("u")
    error = failed.value
    assert time.perf_counter() - started < 2
    assert (error.attempts, error.outcome_unknown, error.retryable) == (4, False, True)
    assert heard.retries == ["connection"] * 3
    assert heard.up == [False]
    assert "127.0.0.1" in str(error)
    assert "sqlite:///" in str(error)
    assert error.__cause__ is not None


async def test_retries_end_at_the_deadline_of_the_call(connect: Callable[..., SessionManager]) -> None:
    manager = connect(
        f"redis://127.0.0.1:{free_port()}", redis_max_retries=100, redis_retry_delay=200, store_timeout=0.7
    )
    started = time.perf_counter()
    with pytest.raises(StoreUnavailable) as failed:
        await manager.get_session("s")
    assert time.perf_counter() - started < 1.2
    assert failed.value.session_id == "s"


async def test_a_failed_append_carries_its_messages_to_be_sent_again(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    await connect(redis_backend.url).create_session("u", session_id="s")
    async with FaultProxy(redis_backend.server.port) as proxy:
        manager = connect(f"redis://127.0.0.1:{proxy.port}", redis_max_retries=1, store_timeout=1.0)
        await manager.add_message("s", {"from": "user", "text": "first"})  # so that the server knows the script
        proxy.fault = lambda: "swallow"
        with pytest.raises(StoreUnavailable) as failed:
            await manager.add_messages("s", [TEXT, {"from": "user", "text": "second"}])
        proxy.fault = lambda: "pass"
        assert failed.value.outcome_unknown
        assert TEXT["text"] not in str(failed.value)
        again = await manager.add_messages("s", failed.value.messages)
        assert [(r.seq, r.duplicate) for r in again] == [(2, True), (3, True)]
        assert len(await manager.get_history("s")) == 3


@pytest.mark.parametrize("fault", ["swallow", "reset", "cut"])
async def test_lost_answers_are_asked_for_again_and_nothing_happens_twice(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend, fault: str
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with FaultProxy(redis_backend.server.port) as proxy:
        manager = connect(
            f"redis://127.0.0.1:{proxy.port}", store_timeout=1.0 if fault == "swallow" else 20.0, redis_max_retries=50
        )
        await manager.create_session("u", session_id="s", ttl=600)
        proxy.fault = lambda: fault if rng.random() < 0.1 else "pass"

        async def write(writer: int) -> list[int]:
            seqs = []
            for i in range(25):
                message: Any = {"id": f"{writer}-{i}", **TEXT}
                while True:
                    try:
                        result = await manager.add_message("s", message)
                        break
                    except StoreUnavailable as error:
                        [message] = error.messages
                seqs.append(result.seq)
            return seqs

        written = await asyncio.gather(*(write(writer) for writer in range(4)))
        assert sorted(itertools.chain(*written)) == list(range(1, 101))
        assert all(seqs == sorted(seqs) for seqs in written)
        for epoch in range(1, 11):
            proxy.fault = once(fault)
            assert (await manager.switch_agent("s", "human" if epoch % 2 else "ai", expect=epoch - 1)).epoch == epoch
        for i in range(10):
            proxy.fault = once(fault)
            await manager.create_session("u", session_id=f"c{i}", ttl=600)
        assert proxy.injected[fault] >= 20
        proxy.fault = lambda: "pass"
        assert [m.seq for m in await manager.get_history("s", 1000)] == list(range(1, 101))
        assert await manager.get_active_sessions_count() == 11


async def test_a_frozen_server_is_unavailable_and_the_manager_recovers_by_itself(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    heard = Heard()
    manager = connect(own_server.url, hooks=[heard], store_timeout=1.0)
    await manager.create_session("u", session_id="s", ttl=600)
    with own_server.frozen():
        started = time.perf_counter()
        with pytest.raises(StoreUnavailable) as failed:
            await manager.add_message("s", {"id": "m", **TEXT})
        assert time.perf_counter() - started < 1.5
        assert failed.value.outcome_unknown
    assert (await manager.add_message("s", {"id": "m", **TEXT})).seq == 1
    assert heard.up == [True, False, True]


async def test_a_killed_server_costs_retries_and_no_acknowledged_message(
    connect: Callable[..., SessionManager], server_folder: Path
) -> None:
    with start_server("redis", server_folder / "aof", *DURABLE) as server:
        manager = connect(server.url, store_timeout=10.0, redis_max_retries=50)
        await manager.create_session("u", session_id="s", ttl=600)
        acknowledged: list[int] = []

        async def write() -> None:
            for i in range(90):
                result = await manager.add_message("s", {"id": f"m{i}", **TEXT})
                acknowledged.append(result.seq)

        async def has_written(count: int) -> bool:
            return len(acknowledged) >= count

        writing = asyncio.create_task(write())
        for count in (15, 40, 65):
            await until(partial(has_written, count))
            server.kill()
            server.start()
        await writing
        assert acknowledged == list(range(1, 91))
        assert [m.id for m in await manager.get_history("s", 100)] == [f"m{i}" for i in range(90)]


async def test_a_flushed_script_cache_is_no_error(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    await manager.create_session("u", session_id="s", ttl=600)

    async def write(writer: int) -> None:
        for _ in range(20):
            await manager.add_message("s", TEXT)

    async def flush() -> None:
        with redis_backend.server.client() as client:
            for _ in range(50):
                client.script_flush()
                await asyncio.sleep(0)

    await asyncio.gather(*(write(w) for w in range(5)), flush())
    assert present(await manager.get_session("s")).message_count == 100


async def test_many_calls_of_a_script_the_server_forgot_bring_it_along_once(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    assert (await manager.cleanup_expired_sessions()).cleaned_count == 0  # so that its script is known
    for i in range(100):
        await manager.create_session("u", session_id=f"s{i}", ttl=1)
    with redis_backend.server.client() as client:

        async def all_dead() -> bool:
            return bool(client.exists(*(f"session:s{i}:meta" for i in range(100))) == 0)

        await until(all_dead)
        client.script_flush()
        client.config_resetstat()
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 100
        stats = client.info("commandstats")
        # One reads index entries, one reconciles them; two are of the desk's sweep: mark_lapsed and read_counts.
        assert stats["cmdstat_eval"]["calls"] == 4
        assert stats["cmdstat_evalsha"]["calls"] < 2 * (100 + 16 + 16)


async def test_calls_of_one_session_keep_their_order_though_a_script_is_unknown(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    with redis_backend.server.client() as client:
        for number in range(2):  # at first they are new to the connection; then the server forgets them
            session = f"s{number}"
            await manager.create_session("u", session_id=session, ttl=600)
            client.script_flush()
            if number == 0:
                client.script_load(load("append_messages").text.decode())
            await asyncio.gather(
                manager.switch_agent(session, "human", note="first"),
                *(manager.add_message(session, TEXT) for _ in range(3)),
            )
            assert (await manager.get_history(session))[0].text == "first"


async def test_killed_connections_are_made_again(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url, redis_max_retries=20)
    await manager.create_session("u", session_id="s", ttl=600)

    async def write(writer: int) -> None:
        for i in range(10):
            await manager.add_message("s", {"id": f"{writer}-{i}", **TEXT})

    async def kill() -> None:
        with redis_backend.server.client() as client:
            for _ in range(20):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await asyncio.sleep(0.002)

    await asyncio.gather(*(write(w) for w in range(10)), kill())
    history = await manager.get_history("s", 1000)
    assert [m.seq for m in history] == list(range(1, 101))
    assert len({m.id for m in history}) == 100


async def test_a_cancelled_caller_takes_no_other_callers_answer(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url, max_message_history=5000)
    for i in range(10):
        await manager.create_session("u", session_id=f"s{i}", ttl=600)
    rng = random.Random(7)

    async def write(writer: int) -> set[str]:
        unknown = set()
        for i in range(50):
            session_id, message_id = f"s{(writer + i) % 10}", f"{writer}-{i}"
            try:
                async with asyncio.timeout(rng.uniform(0, 0.003)):
                    result = await manager.add_message(
                        session_id, {"id": message_id, "from": "user", "text": session_id}
                    )
                    assert (result.message_id, result.message.text) == (message_id, session_id)
            except TimeoutError:
                unknown.add(message_id)
        return unknown

    unknown = set().union(*await asyncio.gather(*(write(w) for w in range(20))))
    assert 0 < len(unknown) < 1000
    stored: list[str] = []
    for i in range(10):
        history = await manager.get_history(f"s{i}", 5000)
        assert {m.text for m in history} <= {f"s{i}"}
        assert [m.seq for m in history] == list(range(1, len(history) + 1))
        stored += [m.id for m in history if m.id]
    assert len(stored) == len(set(stored))
    assert {f"{w}-{i}" for w in range(20) for i in range(50)} - unknown <= set(stored)


async def test_calls_to_a_far_server_do_not_wait_for_each_other(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    async with FaultProxy(redis_backend.server.port, delay=0.002) as proxy:
        proxy.fault = lambda: "delay"
        manager = connect(f"redis://127.0.0.1:{proxy.port}", store_timeout=59.0)
        for i in range(10):  # after some calls the manager has measured the round trip
            await manager.create_session("u", session_id=f"s{i}", ttl=600)
        await manager.add_message("s9", TEXT)  # the server knows the script
        proxy.fault = lambda: "swallow"
        calls: list[asyncio.Task[Any]] = []
        with redis_backend.server.client() as client:

            async def have_arrived() -> bool:
                return all(client.llen(f"session:s{i}:history") for i in range(len(calls)))

            for i in range(5):  # no answer comes, but each call reaches the server
                calls.append(asyncio.create_task(manager.add_message(f"s{i}", TEXT)))
                await until(have_arrived)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_an_error_in_the_place_of_a_mark_gives_nobody_anothers_answer(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    async with FaultProxy(redis_backend.server.port, delay=0.002) as proxy:
        proxy.fault = lambda: "delay"
        manager = connect(f"redis://127.0.0.1:{proxy.port}", store_timeout=2.0, redis_max_retries=20)
        for i in range(10):
            await manager.create_session("u", session_id=f"s{i}", ttl=600)
        await manager.add_message("s3", TEXT)  # the server knows its script
        with redis_backend.server.client() as client:
            client.script_flush()
        proxy.fault = once("swallow")
        first = asyncio.create_task(manager.get_session("s0"))
        await until(lambda: _has_happened(proxy, "swallow"))
        behind = (manager.get_session("s1"), manager.add_message("s2", TEXT))  # the second is answered by an error
        found, _ = await asyncio.gather(*behind)
        assert [present(await first).session_id, present(found).session_id] == ["s0", "s1"]


async def _has_happened(proxy: FaultProxy, fault: str) -> bool:
    return proxy.injected[fault] > 0


async def test_who_is_cancelled_first_leaves_the_connection_to_those_behind(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    heard = Heard()
    async with FaultProxy(redis_backend.server.port, delay=0.05) as proxy:
        proxy.fault = lambda: "delay"
        manager = connect(f"redis://127.0.0.1:{proxy.port}", hooks=[heard])
        for i in range(4):
            await manager.create_session("u", session_id=f"s{i}", ttl=600)
        for _ in range(5):
            first, *behind = (asyncio.create_task(manager.get_history(f"s{i}")) for i in range(4))
            await asyncio.sleep(0)  # the first leaves
            await asyncio.sleep(0)
            first.cancel()
            assert await asyncio.gather(*behind) == [[], [], []]
    assert heard.retries == []


async def test_who_is_cancelled_leaves_those_behind_no_longer_wait(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    async with FaultProxy(redis_backend.server.port) as proxy:
        manager = connect(f"redis://127.0.0.1:{proxy.port}", store_timeout=5.0)  # two seconds for a round trip
        await create_sessions(manager, 1)
        proxy.fault = once("swallow")
        started = time.perf_counter()
        first = asyncio.create_task(manager.get_session("s0"))
        await asyncio.wait([first], timeout=1.5)
        behind = asyncio.create_task(manager.get_session("s0"))
        first.cancel()
        assert await behind
        assert time.perf_counter() - started < 3.0


async def test_nobody_hears_of_a_fault_that_a_cancelled_caller_would_have_met(
    connect: Callable[..., SessionManager], own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    manager = connect(own_server.url, store_timeout=1.0)
    await create_sessions(manager, 1)
    with own_server.frozen():
        for call in (manager.get_session, manager.get_session_ttl):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call("s0"), 0.05)
            with pytest.raises(StoreUnavailable):
                await manager.get_session("s0")
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_a_connection_that_could_not_take_all_does_not_break_the_next(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    heard = Heard()
    async with FaultProxy(redis_backend.server.port, delay=0.002) as proxy:
        proxy.fault = lambda: "delay"
        url = f"redis://127.0.0.1:{proxy.port}"
        manager = connect(url, hooks=[heard], store_timeout=6.0, max_message_bytes=64_000_000)  # 2.4 s for a round trip
        await create_sessions(manager, 10)
        faults = iter(("stall",))
        proxy.fault = lambda: next(faults, "delay")
        first = asyncio.create_task(manager.get_session("s1"))
        await asyncio.wait([first], timeout=1.5)
        large = asyncio.create_task(manager.add_message("s2", {"from": "user", "text": "x" * 40_000_000}))
        await first
        for _ in range(500):  # for longer than the large one has left
            await manager.get_session("s3")
        await large
    assert heard.retries == ["timeout"] * 2


async def test_the_moment_to_give_up_is_kept_by_every_call(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    manager = connect(own_server.url, store_timeout=59.0)
    await create_sessions(manager, 1)
    [server] = store_of(manager)._executor._topology.servers()
    ask = WireCommand(pack_command((b"PING",)), writes=False)
    now = asyncio.get_running_loop().time
    with own_server.frozen():
        waiting = asyncio.gather(*(server.send(ask, now() + 10) for _ in range(2)), return_exceptions=True)
        for _ in range(2):  # behind others, and alone
            started = now()
            with pytest.raises(NoReply):
                await server.send(ask, now() + 0.2)
            assert now() - started < 2
    await waiting


async def test_a_call_that_gave_up_before_it_left_is_not_sent_afterwards(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    async with FaultProxy(redis_backend.server.port, delay=0.15) as proxy:
        other = connect(redis_backend.url)
        await other.create_session("u", session_id="s", ttl=600)
        manager = connect(f"redis://127.0.0.1:{proxy.port}", store_timeout=0.5, redis_retry_delay=1)
        faults = iter(("swallow", "swallow", "delay"))  # of three new connections; the third is ready too late
        proxy.fault = lambda: next(faults, "pass")
        with pytest.raises(StoreUnavailable) as failed:
            await manager.add_message("s", TEXT)
        await manager.get_session("s")  # whatever was on its way has arrived
        assert failed.value.outcome_unknown or await other.get_history("s") == []


async def test_many_reads_that_met_a_fault_go_together_again(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    heard = Heard()
    async with FaultProxy(redis_backend.server.port) as proxy:
        manager = connect(f"redis://127.0.0.1:{proxy.port}", hooks=[heard])
        await create_sessions(manager, 40)
        answers = itertools.count()
        proxy.fault = lambda: "reset" if next(answers) == 1 else "pass"  # the list, and then the sessions in it
        assert len(await manager.get_user_sessions("u")) == 40
    assert heard.retries == ["connection"]


async def test_a_reply_lost_from_the_middle_of_many_gives_nobody_anothers(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    rng = random.Random(1)
    choices: tuple[Agent, ...] = ("ai", "human")
    agents = {f"s{i}": rng.choice(choices) for i in range(1000)}
    async with FaultProxy(redis_backend.server.port) as proxy:
        manager = connect(f"redis://127.0.0.1:{proxy.port}", store_timeout=2.0, redis_max_retries=20)
        await asyncio.gather(*(manager.create_session("u", session_id=s, agent=a) for s, a in agents.items()))
        for lost in (1, 2, 3):  # a server answers a few hundred calls at a time, in one piece
            faults = itertools.chain(["pass"] * lost, ["swallow"], itertools.repeat("pass"))
            proxy.fault = partial(next, faults)
            assert await asyncio.gather(*map(manager.get_session_agent, agents)) == list(agents.values())


async def test_a_wrong_password_is_denied_at_once(connect: Callable[..., SessionManager], own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("requirepass", "correct")
    for url in ("redis://:wr0ng@127.0.0.1:{}", "redis://127.0.0.1:{}"):
        heard = Heard()
        manager = connect(url.format(own_server.port), hooks=[heard])
        with pytest.raises(StoreDenied) as failed:
            await manager.create_session("u")
        assert heard.retries == []
        assert not failed.value.retryable
        assert "REDIS_PASSWORD" in str(failed.value)
        assert "wr0ng" not in str(failed.value)
    await connect(f"redis://:correct@127.0.0.1:{own_server.port}").create_session("u", session_id="s")


async def test_a_user_without_rights_is_denied_and_nothing_is_half_written(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">p", "~*", "+@all", "-@scripting")
        client.execute_command("ACL", "SETUSER", "blind", "on", ">p", "~session:*", "+@all")
        for user in ("reader", "blind"):
            manager = connect(f"redis://{user}:p@127.0.0.1:{own_server.port}")
            with pytest.raises(StoreDenied):
                await manager.create_session("u", session_id="s")
        assert client.dbsize() == 0


async def test_a_user_who_may_not_begin_a_transaction_reads_all_the_same(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "scripting", "on", ">p", "~*", "+@all", "-multi")
    manager = connect(f"redis://scripting:p@127.0.0.1:{own_server.port}")
    await manager.create_session("u", session_id="s", ttl=600)
    await manager.add_messages("s", [TEXT] * 3)
    assert [message.seq for message in await manager.get_history("s", 2)] == [2, 3]


async def test_a_server_out_of_memory_is_full_and_still_reads_and_deletes(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    manager = connect(own_server.url)
    await manager.create_session("u", session_id="s", ttl=600)
    await manager.add_message("s", TEXT)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
    for call in (lambda: manager.add_message("s", TEXT), lambda: manager.create_session("u")):
        with pytest.raises(StoreFull):
            await call()
    assert len(await manager.get_history("s")) == 1
    assert await manager.get_active_sessions_count() == 1
    assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
    assert (await manager.delete_session("s")).success


async def test_a_full_server_knows_what_was_done_before_and_lets_metadata_go(
    connect: Callable[..., SessionManager], own_server: Server
) -> None:
    manager = connect(own_server.url)
    await manager.create_session("u", {"mood": "calm"}, session_id="s", ttl=600)
    await manager.add_message("s", {"id": "m", **TEXT})
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
    assert (await manager.add_message("s", {"id": "m", **TEXT})).duplicate
    assert (await manager.update_session("s", {"mood": None})).metadata == {}


async def test_a_busy_server_is_waited_for(connect: Callable[..., SessionManager], own_server: Server) -> None:
    heard = Heard()
    manager = connect(own_server.url, hooks=[heard], store_timeout=20.0, redis_max_retries=100)
    await manager.create_session("u", session_id="s", ttl=600)
    with own_server.client() as client, own_server.client() as spinning:
        client.config_set("lua-time-limit", 1)

        def spin() -> None:
            with suppress(ResponseError):  # it is killed
                spinning.eval("while true do end", 0)

        async def write_until_it_is_busy() -> None:
            while "busy" not in heard.retries:
                await manager.add_message("s", TEXT)

        async def has_been_told() -> bool:
            return "busy" in heard.retries

        spun = asyncio.create_task(asyncio.to_thread(spin))
        writing = asyncio.create_task(write_until_it_is_busy())
        await until(has_been_told)
        client.script_kill()
        await asyncio.gather(spun, writing)
    assert set(heard.retries) == {"busy"}


async def test_a_server_that_cannot_save_is_full(connect: Callable[..., SessionManager], own_server: Server) -> None:
    manager = connect(own_server.url)
    await manager.create_session("u", session_id="s", ttl=600)
    with own_server.client() as client:
        client.config_set("save", "3600 1")
        (own_server.folder / "dump.rdb").mkdir()  # in the way of its file
        client.bgsave()

        async def has_failed() -> bool:
            return bool(client.info("persistence")["rdb_last_bgsave_status"] == "err")

        await until(has_failed)
        with pytest.raises(StoreFull) as failed:
            await manager.add_message("s", TEXT)
        client.config_set("save", "")  # otherwise the server would refuse to end
    assert "cannot save to disk" in str(failed.value)
    assert await manager.get_history("s") == []


async def test_a_server_that_reads_its_data_is_waited_for(
    connect: Callable[..., SessionManager], server_folder: Path
) -> None:
    heard = Heard()
    with start_server("redis", server_folder / "loading") as server:
        manager = connect(server.url, hooks=[heard], store_timeout=20.0, redis_max_retries=100)
        for i in range(20):
            await manager.create_session("u", session_id=f"s{i}", ttl=600)
        with server.client() as client:
            client.save()
        server.kill()
        slowly = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
        server.options = (*server.options, *slowly)
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        assert await manager.get_session("s19")
        await starting
    assert "loading" in heard.retries


async def test_a_replica_is_read_only(
    connect: Callable[..., SessionManager], own_server: Server, redis_backend: ServerBackend
) -> None:
    manager = connect(own_server.url, redis_max_retries=2)
    with own_server.client() as client:
        client.replicaof("127.0.0.1", redis_backend.server.port)
        with pytest.raises(StoreReadOnly) as failed:
            await manager.create_session("u")
        assert "primary" in str(failed.value)
        client.replicaof("NO", "ONE")
    assert await manager.create_session("u")


async def test_a_primary_that_becomes_a_replica_before_it_confirms_a_write_is_left(
    connect: Callable[..., SessionManager], own_server: Server, redis_backend: ServerBackend
) -> None:
    """As if the write had come just before: a replica that may be written to takes it, and refuses the WAIT."""
    heard = Heard()
    manager = connect(own_server.url, hooks=[heard], redis_max_retries=2, redis_wait_replicas=1)
    with own_server.client() as client:
        client.config_set("replica-read-only", "no")
        client.replicaof("127.0.0.1", redis_backend.server.port)
        connected: int = client.info("stats")["total_connections_received"]
        with pytest.raises(StoreReadOnly) as failed:
            await manager.create_session("u")
        assert client.info("stats")["total_connections_received"] - connected >= 3, "one for each attempt"
        client.replicaof("NO", "ONE")
    assert "primary" in str(failed.value)
    assert failed.value.outcome_unknown
    assert heard.retries == ["read_only"] * 2


async def test_a_primary_that_becomes_a_replica_while_it_awaits_others_is_left(
    connect: Callable[..., SessionManager], own_server: Server, redis_backend: ServerBackend
) -> None:
    heard = Heard()
    options = {"redis_max_retries": 2, "redis_wait_replicas": 1, "redis_wait_timeout": 4000}
    manager = connect(own_server.url, hooks=[heard], **options)
    creating = asyncio.create_task(manager.create_session("u"))
    with own_server.client() as client:

        async def is_waiting() -> bool:
            return bool(client.info("clients")["blocked_clients"] == 1)

        await until(is_waiting)
        client.replicaof("127.0.0.1", redis_backend.server.port)
        with pytest.raises(StoreReadOnly) as failed:
            await creating
        client.replicaof("NO", "ONE")
    assert failed.value.outcome_unknown
    assert heard.retries == ["read_only"] * 2


async def test_what_is_not_redis_is_incompatible(connect: Callable[..., SessionManager]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        manager = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreIncompatible) as failed:
            await manager.create_session("u")
        assert "not Redis" in str(failed.value)


async def test_tls_to_a_plain_port_says_so(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(f"rediss://127.0.0.1:{redis_backend.server.port}", redis_max_retries=1, store_timeout=1.0)
    with pytest.raises((StoreIncompatible, StoreUnavailable)) as failed:  # a greeting with a line end is answered
        await manager.create_session("u")
    assert "TLS" in str(failed.value)


async def test_a_key_of_the_wrong_type_is_named_and_nothing_is_half_written(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    calls: dict[str, Callable[[], Any]] = {
        "session:s:history": lambda: manager.add_message("s", TEXT),
        "session:s:ids": lambda: manager.add_message("s", TEXT),
        "session:s:agent": lambda: manager.switch_agent("s", "human"),
        "session:s:meta": lambda: manager.get_session("s"),
        "user:u:sessions": lambda: manager.get_user_sessions("u"),
    }
    with redis_backend.server.client() as client:
        for key, call in calls.items():
            await manager.create_session("u", session_id="s", ttl=600)
            await manager.add_message("s", {"id": "m", **TEXT})
            client.delete(key)
            if key.endswith("agent"):
                client.rpush(key, "x")
            else:
                client.set(key, "x")
            client.expire(key, 600)
            before = await redis_backend.digest(manager)
            with pytest.raises(StoreCorrupt) as failed:
                await call()
            assert failed.value.key == key
            assert await redis_backend.digest(manager) == before
            client.flushall()


async def test_a_number_that_is_none_is_named(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    with redis_backend.server.client() as client:
        wrong = ("x", "1.5", "1e400", "-7", "")
        for field, values in (("ttl", (*wrong, "0")), ("agentEpoch", wrong), ("messageCount", wrong)):
            for value in values:
                await manager.create_session("u", session_id="s", ttl=600)
                client.hset("session:s:meta", field, value)
                before = await redis_backend.digest(manager)
                for call in (lambda: manager.add_message("s", TEXT), lambda: manager.get_session("s")):
                    with pytest.raises(StoreCorrupt) as failed:
                        await call()
                    assert failed.value.key == "session:s:meta"
                assert await redis_backend.digest(manager) == before
                await manager.delete_session("s")


async def test_a_session_without_its_record_is_no_session_and_its_id_starts_empty(
    connect: Callable[..., SessionManager], redis_backend: ServerBackend
) -> None:
    manager = connect(redis_backend.url)
    await manager.create_session("u", session_id="s", ttl=600)
    await manager.add_message("s", {"id": "old", **TEXT})
    with redis_backend.server.client() as client:
        client.delete("session:s:meta")
        client.hset("session:s:meta", "lastActiveAt", "2026-01-01T00:00:00.000Z")
        client.expire("session:s:meta", 600)
    assert await manager.get_session("s") is None
    assert await manager.get_history("s") == []
    assert await manager.get_session_ttl("s") == -2
    with pytest.raises(SessionNotFound):
        await manager.add_message("s", TEXT)
    await manager.create_session("u", session_id="s", ttl=600)
    assert await manager.get_history("s") == []
    assert (await manager.add_message("s", {"id": "old", **TEXT})).seq == 1


async def test_an_exhausted_pool_is_waited_for(redis_backend: ServerBackend) -> None:
    client = Redis(unix_socket_path=str(redis_backend.server.socket), max_connections=1)
    manager = SessionManager(client, redis_retry_delay=20)
    try:
        await asyncio.gather(*(manager.create_session(f"u{i}", ttl=60) for i in range(50)))
        assert await manager.get_active_sessions_count() == 50
    finally:
        await manager.close()
        await client.aclose()


async def test_a_connection_that_was_lost_a_moment_ago_is_not_written_to(own_server: Server) -> None:
    """From 3.12 on asyncio would go on waiting for the closed socket, in the place of the next one of that number."""
    inner = Connection(host="127.0.0.1", port=own_server.port)
    await inner.connect()  # type: ignore[no-untyped-call]
    transport = present(transport_of(inner))
    transport.abort()
    with pytest.raises(RedisConnectionError, match="was lost"):
        await ServerConnection(inner).send([b"*1\r\n$4\r\nPING\r\n"])
    await inner.disconnect()
