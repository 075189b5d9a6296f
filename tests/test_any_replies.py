"""A server that answers any command with any value: each call ends with a result or an error of the package."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import hiredis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testkit.every_call import make_every_call

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
    """The URL of a server that gives these values in turn, whatever it is asked, and then starts again."""
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
            await make_every_call(f"redis://{address}?protocol=2")

    asyncio.run(run())


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
@example([[[0, 16383, [b"127.0.0.1", "x"]]]])
@example([[[0, 10**15, [b"127.0.0.1", 1]]]])
@example(["MOVED 99999 127.0.0.1:1"])
def test_any_reply_of_a_node_of_a_cluster_gives_a_result_or_an_error_of_the_package(values: list[Any]) -> None:
    async def run() -> None:
        async with answering(values) as address:
            await make_every_call(f"redis+cluster://{address}", store_timeout=0.3)

    asyncio.run(run())
