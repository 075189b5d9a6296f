"""Sentinel, Cluster and TLS from real processes on 127.0.0.1, for tests and chaos proofs; all stopped on leaving.

Folders must be short: a unix socket's path may have 107 bytes, and ours add up to 14 to the given one.
"""

import random
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from certificates import Tls, supports_tls
from servers import Server

PATIENCE = 60.0
HOST = "127.0.0.1"
SERVICE = "chat"
SLOTS = 16384
BUS = 10_000
# A killed server comes back with what it had, and full syncs start at once instead of after 5 s.
ON_ITS_DATA = ("--appendonly", "yes", "--repl-diskless-sync-delay", "0")


def free_ports(count: int) -> list[int]:
    """Ports whose cluster bus port is free too.

    All lie below the range of outgoing connections, so that none of those takes the port of a killed server.
    """
    found: list[int] = []
    chance = random.SystemRandom()  # a seeded test would take the same ports in every worker
    with ExitStack() as held:
        for _ in range(10_000):
            if len(found) == count:
                return found
            port = chance.randrange(11_000, 11_000 + BUS)
            try:
                for number in (port, port + BUS):
                    held.enter_context(socket.socket()).bind((HOST, number))
            except OSError:
                continue
            found.append(port)
    raise RuntimeError(f"no {count} free ports")


def wait_until(condition: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait for what no server announces; a server that does not answer means not yet."""
    deadline = time.monotonic() + within
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except redis.RedisError as error:
            last = error
        time.sleep(0.05)
    raise TimeoutError(f"after {within:g} s still not so: {what} (last error: {last!r})")


class Node(Server):
    """One process of a topology. Its client answers or fails at once: redis-py's own would try eleven times."""

    def __init__(self, program: Path, folder: Path, port: int, *options: str) -> None:
        super().__init__(program, folder, *options)
        self.port = port

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def ask(self, *command: str | int) -> Any:
        """The reply to a command, in the plain form of the second protocol."""
        with redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2
        ) as client:
            client.response_callbacks.clear()
            return _text(client.execute_command(*command))

    def replication(self) -> dict[str, str]:
        return _fields(self.ask("INFO", "replication"))


class SentinelNode(Node):
    """A sentinel. It keeps its knowledge in its configuration file, which is therefore written once only."""

    def __init__(self, program: Path, folder: Path, port: int, settings: Sequence[str], tls: Tls | None) -> None:
        super().__init__(program, folder, port)
        listening = tls.options(port) if tls else ("--port", str(port))
        words = [*listening, "--bind", HOST, "--unixsocket", self.socket, "--dir", folder]
        own = [f"{word.removeprefix('--')} {value}" for word, value in zip(words[::2], words[1::2], strict=True)]
        self.settings = (*own, f"logfile {folder}/redis.log", *settings)

    def start(self) -> "SentinelNode":
        self.folder.mkdir(parents=True, exist_ok=True)
        conf = self.folder / "sentinel.conf"
        if not conf.exists():
            conf.write_text("\n".join([*self.settings, ""]))
        command = [str(self.program), str(conf), "--sentinel"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_until_ready()
        return self

    def primary_port(self) -> int:
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class Topology:
    """Processes that start together on entering and are all killed on leaving, frozen ones too."""

    servers: tuple[Node, ...] = ()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def wait_until_healthy(self, within: float = PATIENCE) -> None:
        """Wait until all that is alive works together; who was killed and not restarted is not waited for."""
        wait_until(self._healthy, f"{type(self).__name__} healthy", within)

    def _start(self) -> None:
        raise NotImplementedError

    def _healthy(self) -> bool:
        raise NotImplementedError

    def _processes(self) -> tuple[Node, ...]:
        return self.servers

    def _end(self) -> None:
        for node in self._processes():
            node.kill()  # a stop would wait for replicas, and for ever for a frozen process

    def _living(self) -> list[Node]:
        return [server for server in self.servers if server.alive]

    def _at(self, port: int) -> Node:
        return next(server for server in self.servers if server.port == port)


class SentinelTopology(Topology):
    """One primary, two replicas and three sentinels that watch them as the service "chat".

    With ``down_after_ms`` at 1000, 3 of 16 failovers were followed by a needless second one: a sentinel first pings
    a new primary after a second, and by then holds it to be down. The one replaced takes writes for ten seconds more.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        down_after_ms: int = 1500,
        failover_timeout_ms: int = 3000,
        options: tuple[str, ...] = (),
        tls: Tls | None = None,
    ) -> None:
        ports = free_ports(6)
        self.tls = tls
        self._options = (*ON_ITS_DATA, *options)
        self.servers = tuple(
            Node(program, folder / f"d{n}", port, *self._options_of(port, ports[0] if n else None))
            for n, port in enumerate(ports[:3])
        )
        settings = (
            f"sentinel monitor {SERVICE} {HOST} {ports[0]} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {failover_timeout_ms}",
        )
        self.sentinels = tuple(
            SentinelNode(program, folder / f"s{n}", port, settings, tls) for n, port in enumerate(ports[3:])
        )

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        return [(HOST, sentinel.port) for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        return f"{_scheme(self.tls)}+sentinel://{_listed(self.sentinels)}/{SERVICE}/0"

    def primary(self) -> Node:
        """The primary of which at least two sentinels say so."""
        votes = Counter(sentinel.primary_port() for sentinel in self.sentinels if sentinel.alive)
        port, count = max(votes.items(), key=lambda vote: vote[1], default=(0, 0))
        if count < 2:
            raise redis.ConnectionError(f"the sentinels do not agree on a primary: {dict(votes)}")
        return self._at(port)

    def client(self) -> redis.Redis:
        """A plain client of the current primary."""
        return self.primary().client()

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def kill_primary(self) -> Node:
        primary = self.primary()
        primary.kill()
        return primary

    def wait_for_failover(self, old: Server, within: float = PATIENCE) -> Node:
        """The new primary, as soon as the sentinels name it and it takes writes."""

        def replaced() -> bool:
            primary = self.primary()
            return primary is not old and primary.replication()["role"] == "master"

        wait_until(replaced, f"another primary than port {old.port}", within)
        return self.primary()

    def restart(self, server: Node) -> None:
        """Bring back a killed server on its data, as a replica unless the sentinels still name it the primary.

        ``server.start()`` brings it back in its old role, until the sentinels demote it ten to twenty seconds later.
        """
        primary = self.primary()
        server.options = self._options_of(server.port, None if primary is server else primary.port)
        server.start()

    def _options_of(self, port: int, primary: int | None) -> tuple[str, ...]:
        tls = self.tls.options(port) if self.tls else ()
        replicates = () if primary is None else ("--replicaof", HOST, str(primary))
        return (*self._options, *tls, *replicates)

    def _processes(self) -> tuple[Node, ...]:
        return (*self.sentinels, *self.servers)

    def _start(self) -> None:
        for server in self.servers:
            server.start()
        # Sentinels ask every ten seconds only: what they see first should be complete.
        wait_until(lambda: self._linked(self.servers[0]), "replicas linked")
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_until_healthy()

    def _linked(self, primary: Node) -> bool:
        return all(_follows(server, primary) for server in self._living() if server is not primary)

    def _healthy(self) -> bool:
        primary = self.primary()
        return (
            primary.alive
            and primary.replication()["role"] == "master"
            and self._linked(primary)
            and all(self._sees_all(sentinel, primary) for sentinel in self.sentinels if sentinel.alive)
        )

    def _sees_all(self, sentinel: SentinelNode, primary: Node) -> bool:
        seen = _pairs(sentinel.ask("SENTINEL", "MASTER", SERVICE))
        replicas = {
            int(replica["port"])
            for replica in map(_pairs, sentinel.ask("SENTINEL", "REPLICAS", SERVICE))
            if (replica["flags"], replica["master-link-status"]) == ("slave", "ok")
            and int(replica["master-port"]) == primary.port
        }
        return (
            (int(seen["port"]), seen["flags"]) == (primary.port, "master")
            and int(seen["num-other-sentinels"]) == len(self.sentinels) - 1
            and replicas == {server.port for server in self._living()} - {primary.port}
        )


class ClusterTopology(Topology):
    """Three primaries with one replica each."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        node_timeout_ms: int = 2000,
        options: tuple[str, ...] = (),
        tls: Tls | None = None,
    ) -> None:
        self.program = program
        self.tls = tls
        cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms))
        common = (*ON_ITS_DATA, *cluster, *(("--tls-cluster", "yes") if tls else ()), *options)
        self.servers = tuple(
            Node(program, folder / f"n{n}", port, *common, *(tls.options(port) if tls else ()))
            for n, port in enumerate(free_ports(6))
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(HOST, server.port) for server in self.servers]

    @property
    def url(self) -> str:
        return f"{_scheme(self.tls)}+cluster://{_listed(self.servers)}"

    def primaries(self) -> list[Node]:
        """The living servers that own slots."""
        owners = set(self.owners().values())
        return [server for server in self.servers if server in owners]

    def owners(self) -> dict[int, Node]:
        """The living owner of each slot; of two that claim one, say after a restart, the later elected."""
        claims = []
        for server in self._living():
            own = next(line for line in _lines(server) if "myself" in line.flags)
            claims.append((own.epoch, server.port, own.slots))
        return {slot: self._at(port) for _, port, slots in sorted(claims) for slot in slots}

    def client(self) -> RedisCluster:
        return RedisCluster(host=HOST, port=self._living()[0].port)

    def flush(self) -> None:
        for primary in self.primaries():
            with primary.client() as client:
                client.flushall()

    def scan_keys(self, match: str = "*") -> Iterator[bytes]:
        for primary in self.primaries():
            with primary.client() as client:
                yield from client.scan_iter(match=match, count=1000)

    def kill_primary(self, slot: int = 0) -> Node:
        """Kill the owner of a slot. ``wait_until_healthy`` returns when its replica has taken over."""
        primary = self.owners()[slot]
        primary.kill()
        return primary

    def restart(self, server: Node) -> None:
        """Bring back a killed server on its data; replaced meanwhile, it becomes a replica."""
        server.start()

    def migrate_slot(self, slot: int, target_server: Node, keys_per_step: int = 10, pause: float = 0) -> int:
        """Move a slot with its keys as ``redis-cli --cluster reshard`` does; returns how many keys went.

        ``pause``: seconds after each step, in which callers meet a slot that is on the move.
        """
        source = self.owners()[slot]
        if source is target_server:
            return 0
        source_id, target_id = source.ask("CLUSTER", "MYID"), target_server.ask("CLUSTER", "MYID")
        target_server.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        moved = 0
        with source.client() as client:
            while keys := client.execute_command("CLUSTER GETKEYSINSLOT", slot, keys_per_step):
                client.execute_command("MIGRATE", HOST, target_server.port, "", 0, 5000, "KEYS", *keys)
                moved += len(keys)
                time.sleep(pause)
        # The target first: were the source told first and the target to fail, nobody would own the slot.
        others = [server for server in self.primaries() if server not in (source, target_server)]
        for server in (target_server, source, *others):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return moved

    def _start(self) -> None:
        for server in self.servers:
            server.start()
        beside = self.program.parent / "redis-cli"
        tool = str(beside) if beside.exists() else shutil.which("redis-cli")
        if tool is None:
            raise RuntimeError(f"no redis-cli beside {self.program} or on PATH")
        nodes = [f"{HOST}:{server.port}" for server in self.servers]
        command = [tool, "--cluster", "create", *nodes, "--cluster-replicas", "1", "--cluster-yes"]
        if self.tls:
            command += ["--tls", "--cacert", self.tls.ca, "--cert", self.tls.cert, "--key", self.tls.key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} made no cluster:\n{done.stdout}{done.stderr}")
        self.wait_until_healthy()

    def _healthy(self) -> bool:
        """All living nodes are fine by themselves, and see the same cluster: the living, and every slot once."""
        living = self._living()
        views = {frozenset(_lines(server, but="fail")) for server in living}
        if len({frozenset(line.public() for line in view) for view in views}) != 1:
            return False
        seen = views.pop()
        return (
            {line.port for line in seen} == {server.port for server in living}
            and sorted(slot for line in seen for slot in line.slots) == list(range(SLOTS))
            and all(_fields(server.ask("CLUSTER", "INFO"))["cluster_state"] == "ok" for server in living)
            and all(_follows(self._at(line.port), None) for line in seen if not line.slots)
        )


class ClusterLine:
    """One line of CLUSTER NODES."""

    def __init__(self, line: str) -> None:
        self.id, address, flags, self.primary_id, _, _, epoch, self.link, *slots = line.split()
        self.port = int(address.partition("@")[0].rpartition(":")[2])
        self.flags = set(flags.split(","))
        self.epoch = int(epoch)
        ranges = [part.partition("-") for part in slots if not part.startswith("[")]  # [ marks one under way
        self.slots = [slot for low, _, high in ranges for slot in range(int(low), int(high or low) + 1)]

    def public(self) -> tuple[object, ...]:
        """What all nodes should agree on; a node in doubt has a flag more."""
        return self.id, self.port, self.primary_id, self.link, *self.slots, *sorted(self.flags - {"myself"})


class TlsServer(Server):
    """A server that speaks TLS only and asks for client certificates, with the users "chat" and "admin".

    Its unix socket is for looking inside.
    """

    password = "chat-password"
    admin_password = "admin-password"

    def __init__(self, program: Path, folder: Path, *, acl: str, options: tuple[str, ...] = ()) -> None:
        """Rules of ``acl`` are those of the user "chat", such as ``+evalsha ~session:*``."""
        super().__init__(program, folder)
        self.acl = acl
        (self.port,) = free_ports(1)
        self.tls = Tls(folder)
        self.options = (*self.tls.options(self.port), "--aclfile", str(folder / "users.acl"), *options)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"rediss://chat:{self.password}@{HOST}:{self.port}/0"

    def client(self) -> redis.Redis:
        """The administrator's client, over the unix socket."""
        return redis.Redis(unix_socket_path=str(self.socket), username="admin", password=self.admin_password)

    def start(self) -> "TlsServer":
        if not supports_tls(self.program):
            raise RuntimeError(f"{self.program} was built without TLS")
        users = (
            "user default off",
            f"user admin on >{self.admin_password} ~* &* +@all",
            f"user chat on >{self.password} {self.acl}",
        )
        (self.folder / "users.acl").write_text("\n".join([*users, ""]))
        super().start()
        return self


def _follows(server: Node, primary: Node | None) -> bool:
    """Whether a server is a replica, of the given primary if one is given, that finished its first sync."""
    state = server.replication()
    return (state["role"], state.get("master_link_status"), state.get("master_sync_in_progress")) == (
        "slave",
        "up",
        "0",
    ) and (primary is None or int(state["master_port"]) == primary.port)


def _lines(server: Node, but: str = "") -> list[ClusterLine]:
    """All nodes as one of them sees them, but for those with a certain flag."""
    lines = [ClusterLine(line) for line in server.ask("CLUSTER", "NODES").splitlines()]
    return [line for line in lines if but not in line.flags]


def _scheme(tls: Tls | None) -> str:
    return "rediss" if tls else "redis"


def _listed(nodes: Sequence[Node]) -> str:
    return ",".join(f"{HOST}:{node.port}" for node in nodes)


def _text(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_text(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


def _fields(info: str) -> dict[str, str]:
    """The fields of an INFO."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
