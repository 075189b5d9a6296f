"""A server that answers any command with any value: each call ends with a result or an error of the package."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import hiredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat_session import ChatSessionError, Inspector, SessionManager

TEXT = {"id": "m", "from": "user", "text": "x"}
GREETING = (b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"PING")


def encode(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, bool):
        return b"#%c\r\n" % b"ft"[value]
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        return b",%b\r\n" % repr(value).encode()
    if isinstance(value, str):
        return b"-%b\r\n" % value.encode()
    if isinstance(value, dict):
        return b"%%%d\r\n" % len(value) + b"".join(encode(k) + encode(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return b"*%d\r\n" % len(value) + b"".join(map(encode, value))
    return b"$%d\r\n%b\r\n" % (len(value), value)


@asynccontextmanager
async def answering(values: list[Any]) -> AsyncIterator[str]:
    """The URL of a server that gives these values in turn, whatever it is asked, and then begins anew."""
    turn = cycle(values)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                commands.feed(data)
                while (words := commands.gets()) is not False:
                    if words[0].upper() == b"ECHO":
                        writer.write(encode(words[1]))
                    else:
                        writer.write(encode(b"OK" if words[0].upper() in GREETING else next(turn)))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def scan(manager: SessionManager) -> None:
    async for _ in Inspector(manager).scan_sessions():
        pass


CALLS: dict[str, Callable[[SessionManager], Coroutine[Any, Any, Any]]] = {
    "create": lambda manager: manager.create_session("u", session_id="s"),
    "get": lambda manager: manager.get_session("s"),
    "agent": lambda manager: manager.get_session_agent("s"),
    "active": lambda manager: manager.is_session_active("s"),
    "update": lambda manager: manager.update_session("s", {"a": 1}),
    "delete": lambda manager: manager.delete_session("s"),
    "extend": lambda manager: manager.extend_session("s"),
    "append": lambda manager: manager.add_message("s", TEXT),
    "history": lambda manager: manager.get_history("s"),
    "window": lambda manager: manager.get_history("s", after=1),
    "switch": lambda manager: manager.switch_agent("s", "human"),
    "set_ttl": lambda manager: manager.set_session_ttl("s", 5),
    "get_ttl": lambda manager: manager.get_session_ttl("s"),
    "list": lambda manager: manager.list_user_sessions("u", limit=3),
    "list all": lambda manager: Inspector(manager).list_sessions(limit=3),
    "count": lambda manager: manager.get_active_sessions_count(),
    "sweep": lambda manager: manager.cleanup_expired_sessions(),
    "scan": scan,
    "diagnose": lambda manager: Inspector(manager).diagnose(repair=True),
}
STATUS = st.sampled_from([b"OK", b"GONE", b"STALE", b"EXISTS", b"CONFLICT", b"CORRUPT", b"FULL", b"MOVED", b"DEAD"])
NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
WORDS = st.sampled_from(
    [b"", b"0", b"5", b"nan", b"inf", b"1e309", b"0x10", b"s", b"s/u", b"u", b"ai", b"\xff", b"9" * 5000, b"hash"]
)
PLAIN = st.one_of(st.none(), NUMBERS, WORDS, st.binary(max_size=8), st.booleans(), st.floats(), STATUS)
ERRORS = st.sampled_from(
    ["ERR x", "MOVED 1 h:1", "MOVED x", "MOVED 99999 127.0.0.1:1", "WRONGTYPE x", "NOSCRIPT x", "", "BUSY"]
)
VALUES = st.one_of(
    st.recursive(st.one_of(PLAIN, ERRORS), lambda inner: st.lists(inner, max_size=4), max_leaves=8),
    st.dictionaries(WORDS, PLAIN, max_size=3),
    st.tuples(STATUS, st.lists(st.one_of(PLAIN, st.lists(PLAIN, max_size=4)), max_size=4)).map(lambda v: [v[0], *v[1]]),
    st.tuples(WORDS, st.lists(WORDS, max_size=4)),
)


async def ask_everything(url: str, **options: Any) -> None:
    options = {"store_timeout": 2.0, "redis_max_retries": 0} | options
    async with SessionManager.from_url(url, **options) as manager:
        for name, call in CALLS.items():
            try:
                async with asyncio.timeout(10):
                    await call(manager)
            except ChatSessionError:
                pass
            except TimeoutError:
                pytest.fail(f"{name} did not end")


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
@example([[b"OK", [b"s", b"5"], b"5"]])
@example([b"u", [b"MOVED"]])
@example([[b"5", [b"s/u", b"5"]]])
@example([[b"5", []]])
@example([[b"a", b"1", b"b", b"1", b"c", b"1"], [], [], []])
@example(["WRONGTYPE x"])
def test_any_reply_of_one_server_gives_a_result_or_an_error_of_the_package(values: list[Any]) -> None:
    async def run() -> None:
        async with answering(values) as address:
            await ask_everything(f"redis://{address}?protocol=2")

    asyncio.run(run())


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
@example([[[0, 16383, [b"127.0.0.1", "x"]]]])
@example([[[0, 10**15, [b"127.0.0.1", 1]]]])
@example(["MOVED 99999 127.0.0.1:1"])
def test_any_reply_of_a_node_of_a_cluster_gives_a_result_or_an_error_of_the_package(values: list[Any]) -> None:
    async def run() -> None:
        async with answering(values) as address:
            await ask_everything(f"redis+cluster://{address}", store_timeout=0.3)

    asyncio.run(run())
