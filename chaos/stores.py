"""The stores that proofs run on: each is started fresh, looked into by its keys, and stopped at the end."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import redis

import chaos  # noqa: F401 - it makes the tests' servers importable
from chaos.look import Look, look_at_keys
from chaos.look_sqlite import look_at_file
from chaos.proxy import FaultProxy
from chat_session.storage.redis.keys import Keys
from servers import Server, find_server
from topologies import ClusterTopology, SentinelTopology, wait_until

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
UNSAVED = ("--appendonly", "no")


class NoServer(Exception):
    """What a store needs is not on this machine."""


class Store:
    """One store under test. ``client_settings`` go to every manager on it."""

    kind = ""
    url = ""

    def __init__(self) -> None:
        self.client_settings: dict[str, Any] = {}

    def facts(self) -> dict[str, str]:
        """The settings that decide what an acknowledgement is worth here."""
        return {}

    def look(self, prefix: str = "") -> Look:
        raise NotImplementedError


class RedisStore(Store):
    """What all topologies of servers have in common."""

    layout: Any = "plain"

    def servers(self) -> Sequence[Server]:
        """The primaries of now."""
        raise NotImplementedError

    @contextmanager
    def clients(self) -> Iterator[list[redis.Redis]]:
        """A plain client of each primary."""
        opened = [server.client() for server in self.servers()]
        try:
            yield opened
        finally:
            for client in opened:
                client.close()

    def look(self, prefix: str = "") -> Look:
        with self.clients() as clients:
            return look_at_keys(clients, Keys(prefix, self.layout))

    def count_connections(self) -> list[int]:
        """Of each primary, without those of ``clients``, which come over the unix socket."""
        with self.clients() as clients:
            connected = [client.client_list(_type="normal") for client in clients]
        return [sum(not c["addr"].endswith("sock:0") for c in each) for each in connected]

    def on_all(self, *command: str | int) -> list[Any]:
        """Give each primary a command."""
        with self.clients() as clients:
            return [client.execute_command(*command) for client in clients]

    def facts(self) -> dict[str, str]:
        with self.clients() as clients:
            config: Any = clients[0].config_get("append*")
            replicas: Any = clients[0].info("replication")["connected_slaves"]
        fsync = config["appendfsync"] if config["appendonly"] == "yes" else "not saved"
        return {
            "appendfsync": fsync,
            "WAIT": f"{self.client_settings.get('redis_wait_replicas', 0)} of {replicas} replicas",
        }


class Standalone(RedisStore):
    """One server."""

    kind = "standalone"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.url = server.url

    def servers(self) -> Sequence[Server]:
        return [self.server]

    def restart(self) -> None:
        """Kill -9, and back on its data, whose torn end is cut off as docs/guarantees.md advises."""
        self.server.kill()
        cut_torn_end(self.server)
        self.server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server does not run meanwhile, and its connections stay open."""
        process = self.server.process
        if process is None:
            raise NoServer("the server does not run")
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


def cut_torn_end(server: Server) -> None:
    """Cut half a transaction off the end of the append-only file, where the tool for it is installed.

    redis-server 7.0.15 ignores it when it starts, but leaves it in the file where its last command is torn:
    what is written next completes it, and at the start after that it is executed.
    """
    tool = shutil.which("redis-check-aof")
    files = [server.folder / "appendonlydir" / "appendonly.aof.manifest", server.folder / "appendonly.aof"]
    for file in files:
        if tool and file.exists():
            subprocess.run([tool, "--fix", file.name], cwd=file.parent, input=b"y\n", capture_output=True, check=True)


class Replicated(RedisStore):
    """A primary with two replicas, watched by three sentinels."""

    kind = "sentinel"

    def __init__(self, topology: SentinelTopology) -> None:
        super().__init__()
        self.topology = topology
        self.url = topology.url

    def servers(self) -> Sequence[Server]:
        return [self.topology.primary()]


class Clustered(RedisStore):
    """Three primaries with a replica each."""

    kind = "cluster"
    layout = "tagged"

    def __init__(self, topology: ClusterTopology) -> None:
        super().__init__()
        self.topology = topology
        self.url = topology.url

    def servers(self) -> Sequence[Server]:
        return self.topology.primaries()


class File(Store):
    """An SQLite file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"

    def look(self, prefix: str = "") -> Look:  # noqa: ARG002 - one face; a file has no prefix
        return look_at_file(self.path)

    def facts(self) -> dict[str, str]:
        with sqlite3.connect(self.path) as db:
            [journal] = db.execute("PRAGMA journal_mode").fetchone()
        db.close()
        return {"journal": journal, "synchronous": "FULL"}


@asynccontextmanager
async def opened(kind: str, folder: Path, *options: str) -> AsyncIterator[Any]:
    """A fresh store of this kind; whatever it started is stopped on leaving."""
    if kind == "sqlite":
        yield File(folder / "chat.db")
        return
    program = find_server()
    if program is None:
        raise NoServer("no redis-server or valkey-server on this machine")
    async with AsyncExitStack() as stack:
        if kind == "standalone":
            server = Server(program, folder / "r", *options)
            stack.callback(server.kill)
            await asyncio.to_thread(server.start)
            yield Standalone(server)
        elif kind == "sentinel":
            sentinels = SentinelTopology(program, folder, options=options)
            stack.push(sentinels.__exit__)
            await asyncio.to_thread(sentinels.__enter__)
            yield Replicated(sentinels)
        else:
            cluster = ClusterTopology(program, folder, options=options)
            stack.push(cluster.__exit__)
            await asyncio.to_thread(cluster.__enter__)
            yield Clustered(cluster)


@asynccontextmanager
async def proxied(store: RedisStore) -> AsyncIterator[tuple[str, list[FaultProxy]]]:
    """The URL of the store as it is reached through proxies, and these; one before each node.

    A cluster's nodes announce the proxies' ports. Replicas go through them, too: those links are spared.
    """
    async with AsyncExitStack() as stack:
        if not isinstance(store, Clustered):
            [server] = store.servers()
            proxy = await stack.enter_async_context(FaultProxy(server.port))
            yield f"redis://127.0.0.1:{proxy.port}/0", [proxy]
            return
        nodes = store.topology.servers
        proxies = [await stack.enter_async_context(FaultProxy(node.port, spare_replicas=True)) for node in nodes]
        for node, proxy in zip(nodes, proxies, strict=True):
            node.ask("CONFIG", "SET", "cluster-announce-port", proxy.port)
        ports = {str(proxy.port) for proxy in proxies}

        def announced() -> bool:
            views = [node.ask("CLUSTER", "NODES") for node in nodes]
            return all(all(f":{port}@" in view for port in ports) for view in views)

        await asyncio.to_thread(wait_until, announced, "all nodes announce the proxies")
        addresses = ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
        yield f"redis+cluster://{addresses}", proxies
