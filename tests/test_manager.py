"""The manager itself: the clients that it accepts, how it is closed, and where it may be used."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from chat_session import (
    CapabilityMissing,
    Desk,
    Inspector,
    InvalidInput,
    ManagerClosed,
    SessionCleanup,
    SessionManager,
    SettingsError,
    StoreDenied,
    StoreIncompatible,
    UsedAfterFork,
    WrongEventLoop,
)
from testkit.backends import Backend, ServerBackend
from testkit.present import present

CLIENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decoding": {"decode_responses": True},
    "decoding latin-1": {"decode_responses": True, "encoding": "latin-1"},
    "RESP2": {"protocol": 2},
    "RESP3": {"protocol": 3},
    "RESP3 decoding": {"protocol": 3, "decode_responses": True},
    "one connection": {"single_connection_client": True},
    "retrying": {"retry": Retry(ConstantBackoff(0.01), 3), "retry_on_error": [RedisConnectionError]},
    "timeouts": {"socket_timeout": 5, "health_check_interval": 1},
}


@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
async def test_any_client_handed_in_works_and_stays_open(redis_backend: ServerBackend, options: dict[str, Any]) -> None:
    client = Redis(unix_socket_path=str(redis_backend.server.socket), **options)
    async with SessionManager(client) as manager:
        session = await manager.create_session("用户", {"a": [1, "x"]}, ttl=60)
        await manager.add_message(session.session_id, {"from": "user", "text": "😀"})
        await manager.add_message(session.session_id, {"from": "user", "text": "second"})
        with redis_backend.server.client() as raw:
            raw.lset(f"session:{session.session_id}:history", 1, b"\xff\xfe")
        assert [m.type for m in await manager.get_history(session.session_id)] == [None, "unreadable"]
        assert present(await manager.get_session(session.session_id)).metadata == {"a": [1, "x"]}
        assert [s.session_id for s in await manager.get_user_sessions("用户")] == [session.session_id]
        assert await manager.get_active_sessions_count() == 1
        assert [s.session_id async for s in Inspector(manager).scan_sessions()] == [session.session_id]
        assert [f.subject for f in await Inspector(manager).diagnose() if f.level == "error"] == ["damage"]
    assert await client.ping()
    await client.aclose()


async def test_what_a_server_says_between_replies_is_nobodys_answer(redis_backend: ServerBackend) -> None:
    client = Redis(unix_socket_path=str(redis_backend.server.socket), protocol=3, max_connections=1)
    assert await client.execute_command("CLIENT", "TRACKING", "ON", "BCAST")  # type: ignore[no-untyped-call]
    async with SessionManager(client) as manager:
        await manager.create_session("u", session_id="s", ttl=60)
        await manager.add_message("s", {"from": "user", "text": "the server knows the script"})
        for seq in range(2, 20):  # each write is announced on the connection that made it
            writing = (manager.add_message("s", {"from": "user", "text": str(seq)}), manager.get_history("s", 1))
            appended, read = await asyncio.gather(*writing)
            assert (appended.seq, read[-1].seq) == (seq, seq)
    await client.aclose()


async def test_a_client_without_hiredis_works(redis_backend: ServerBackend) -> None:
    pool = ConnectionPool.from_url(redis_backend.url, parser_class=_AsyncRESP2Parser, protocol=2)
    async with SessionManager(Redis(connection_pool=pool)) as manager:
        await asyncio.gather(*(manager.create_session("u", session_id=f"s{i}", ttl=60) for i in range(50)))
        results = await asyncio.gather(
            *(manager.add_message(f"s{i}", {"from": "user", "text": "x"}) for i in range(50))
        )
        assert {result.seq for result in results} == {1}
        assert len(await manager.get_user_sessions("u")) == 50
    await pool.aclose()


async def test_a_blocking_pool_of_one_connection_is_enough(redis_backend: ServerBackend) -> None:
    pool = BlockingConnectionPool.from_url(redis_backend.url, max_connections=1)
    client = Redis(connection_pool=pool)
    async with SessionManager(client) as manager:
        await asyncio.gather(*(manager.create_session("u", ttl=60) for _ in range(30)))
        assert (await client.dbsize()) > 30
    await client.aclose()
    await pool.aclose()


@pytest.mark.parametrize("wrong", ["redis://localhost", 1, object()])
def test_what_is_neither_client_nor_store_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        SessionManager(wrong)
    assert refused.value.argument == "client_or_store"
    assert "from_url" in str(refused.value)


async def test_a_store_can_be_handed_in(backend: Backend, manager: SessionManager) -> None:
    await manager.create_session("u", session_id="s")
    async with SessionManager(manager._store) as other:
        assert await other.is_session_active("s")


class OnlySessions:
    """A store of another program that offers one capability and no others."""

    desk = None
    operator = None
    state = None
    feed = None
    replies = None
    turns = None

    def __init__(self, sessions: Any) -> None:
        self.sessions = sessions

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_store_without_operator_functions_serves_all_else(manager: SessionManager) -> None:
    async with SessionManager(OnlySessions(manager._store.sessions)) as other:
        await other.create_session("u", session_id="s")
        inspector = Inspector(other)
        for ask in (inspector.list_sessions(), inspector.diagnose(), anext(inspector.scan_sessions())):
            with pytest.raises(CapabilityMissing, match="no operator functions"):
                await ask
        elsewhere = msgspec.structs.replace(present(await other.get_session("s")), session_id="restored")
        assert (await inspector.restore_session(elsewhere)).session_id == "restored"


async def test_a_store_without_turns_serves_all_else(manager: SessionManager) -> None:
    async with SessionManager(OnlySessions(manager._store.sessions)) as other:
        await other.create_session("u", session_id="s", turns=True)
        with pytest.raises(CapabilityMissing, match="no turn functions"):
            other.turn("s")
        for ask in (other.stop_turn("s"), other.pending_turns(), anext(other.wait_for_turns())):
            with pytest.raises(CapabilityMissing, match="no turn functions"):
                await ask
        assert (await other.add_message("s", {"from": "user", "text": "hello"})).seq == 1


async def test_a_store_without_a_desk_serves_all_else(manager: SessionManager) -> None:
    async with SessionManager(OnlySessions(manager._store.sessions)) as other:
        await other.create_session("u", session_id="s")
        desk = Desk(other)
        for ask in (desk.request_human("s"), desk.claim_next("anna"), desk.waiting(), desk.operators(), desk.stats()):
            with pytest.raises(CapabilityMissing, match="no desk functions"):
                await ask
        assert (await other.cleanup_expired_sessions()).success
        assert present(await other.get_session("s")).desk.state == "open"


def test_a_store_that_lacks_methods_is_refused_by_their_names() -> None:
    class Sessions:
        async def create_session(self) -> None: ...

    class Half:
        sessions = Sessions()
        operator = Sessions()

    with pytest.raises(InvalidInput) as refused:
        SessionManager(Half())  # type: ignore[arg-type]  # as from code that nobody checked
    for name in ("close", "sessions.append_messages", "operator.diagnose"):
        assert name in str(refused.value)
    assert "sessions.create_session" not in str(refused.value)


async def test_close_lets_calls_in_flight_finish(backend: Backend) -> None:
    manager = backend.open()
    session = await manager.create_session("u", ttl=60)
    message = {"from": "user", "text": "x"}
    calls = [asyncio.create_task(manager.add_message(session.session_id, message)) for _ in range(50)]
    await asyncio.sleep(0)
    await manager.close()
    assert sorted(result.seq for result in await asyncio.gather(*calls)) == list(range(1, 51))


async def test_a_closed_manager_says_so(backend: Backend) -> None:
    manager = backend.open()
    await manager.create_session("u", session_id="s", ttl=60)
    await manager.close()
    await manager.close()
    with pytest.raises(ManagerClosed):
        await manager.get_session("s")
    with pytest.raises(ManagerClosed):
        [s async for s in Inspector(manager).scan_sessions()]


async def test_closing_stops_the_cleanups(backend: Backend) -> None:
    manager = backend.open()
    cleanup = SessionCleanup(manager, interval=3600)
    cleanup.start()
    await manager.close()
    assert not cleanup.get_status().is_running


def test_a_manager_of_another_loop_says_so(redis_backend: ServerBackend) -> None:
    manager = redis_backend.open()
    first = asyncio.new_event_loop()
    first.run_until_complete(manager.is_session_active("s"))

    async def elsewhere() -> None:
        with pytest.raises(WrongEventLoop):
            await manager.is_session_active("s")

    asyncio.run(elsewhere())
    first.run_until_complete(manager.close())
    first.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_manager_used_after_a_fork_says_so(manager: SessionManager) -> None:
    await manager.is_session_active("s")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        call = manager.is_session_active("s")
        try:
            call.send(None)
        except UsedAfterFork as error:
            os.write(writing, error.code.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"used_after_fork"
    os.close(reading)
    os.close(writing)


async def test_no_log_holds_a_messages_text(manager: SessionManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session = await manager.create_session("u", {"secret": "metadata"})
    await manager.add_message(session.session_id, {"from": "user", "text": "the text of a message"})
    await manager.get_history(session.session_id)
    await manager.switch_agent(session.session_id, "human", note="the text of a note")
    records = [record for record in caplog.records if record.name == "chat_session"]
    assert {"create_session", "append_messages", "get_history", "switch_agent"} <= {
        vars(record)["action"] for record in records
    }
    for record in records:
        shown = repr(record.__dict__) + record.getMessage()
        assert "the text" not in shown
        assert "metadata" not in shown


URLS = [
    *(
        "",
        "nonsense",
        "http://localhost",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/x.db",
        "sqlite:///x?y=1",
    ),
    *(
        "redis://[::1",
        "redis+cluster://",
        "redis+sentinel://localhost",
        "redis+cluster://localhost/1",
        "redis://localhost:port",
        "redis://localhost:99999",
        "redis://localhost/db",
        "redis://localhost?nonsense=1",
    ),
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_names_no_store_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager.from_url(url)
    assert refused.value.variable == "CHAT_SESSION_URL"


async def test_a_sqlite_file_that_cannot_be_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database, it is a text of some length\n" * 50)
    for name, error in (("none/x.db", StoreDenied), ("text.db", StoreIncompatible)):
        async with SessionManager.from_url(f"sqlite:///{tmp_path}/{name}") as manager:
            for _ in range(2):
                with pytest.raises(error):
                    await manager.create_session("u")
