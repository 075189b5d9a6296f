"""A primary, two replicas and three sentinels."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import redis

from testkit.ports import HOST, free_ports
from testkit.servers import PATIENCE, Server, wait_until
from testkit.tls import Tls
from testkit.topology import ON_ITS_DATA, Node, Topology, addresses_of, follows, pairs, scheme

SERVICE = "chat"


class SentinelNode(Node):
    """A sentinel. It keeps what it learns in its configuration file, so that file is written once only."""

    def __init__(self, program: Path, folder: Path, port: int, settings: Sequence[str], tls: Tls | None) -> None:
        super().__init__(program, folder, port=port)
        listening = tls.options(port) if tls else ("--port", str(port))
        words = [*listening, "--bind", HOST, "--unixsocket", str(self.socket), "--dir", str(folder)]
        own = [f"{word.removeprefix('--')} {value}" for word, value in zip(words[::2], words[1::2], strict=True)]
        self.settings = (*own, f"logfile {folder}/redis.log", *settings)

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        conf = self.folder / "sentinel.conf"
        if not conf.exists():
            conf.write_text("\n".join([*self.settings, ""]))
        self._launch([str(self.program), str(conf), "--sentinel"])
        return self

    def primary_port(self) -> int:
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class SentinelTopology(Topology):
    """One primary, two replicas and three sentinels that watch them as the service "chat".

    ``down_after_ms`` is 1500. With 1000, 3 of 16 failovers were followed by a needless second one: a sentinel sends
    its first ping to a new primary after a second, and by then takes it to be down. The replaced primary then
    accepts writes for ten more seconds.
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
            Node(program, folder / f"d{n}", *self._options_of(port, ports[0] if n else None), port=port)
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
        return f"{scheme(self.tls)}+sentinel://{addresses_of(self.sentinels)}/{SERVICE}/0"

    def primary(self) -> Node:
        """The server that at least two sentinels name as the primary. Raises redis.ConnectionError if there is none."""
        votes = Counter(sentinel.primary_port() for sentinel in self.sentinels if sentinel.running)
        port, count = max(votes.items(), key=lambda vote: vote[1], default=(0, 0))
        if count < 2:
            raise redis.ConnectionError(f"the sentinels do not agree on a primary: {dict(votes)}")
        return self._at(port)

    def primaries(self) -> Sequence[Node]:
        return [self.primary()]

    def client(self) -> redis.Redis:
        """A plain synchronous client of the current primary."""
        return self.primary().client()

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
        """Start a killed server again on its data, as a replica unless the sentinels still name it the primary.

        ``server.start()`` would start it in its old role, until the sentinels demote it ten to twenty seconds later.
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
        # Sentinels ask for replicas only every ten seconds, so their first answer should be complete.
        wait_until(lambda: self._linked(self.servers[0]), "replicas linked")
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_until_healthy()

    def _linked(self, primary: Node) -> bool:
        return all(follows(server, primary) for server in self._running() if server is not primary)

    def _healthy(self) -> bool:
        primary = self.primary()
        return (
            primary.running
            and primary.replication()["role"] == "master"
            and self._linked(primary)
            and all(self._sees_all(sentinel, primary) for sentinel in self.sentinels if sentinel.running)
        )

    def _sees_all(self, sentinel: SentinelNode, primary: Node) -> bool:
        seen = pairs(sentinel.ask("SENTINEL", "MASTER", SERVICE))
        replicas = {
            int(replica["port"])
            for replica in map(pairs, sentinel.ask("SENTINEL", "REPLICAS", SERVICE))
            if (replica["flags"], replica["master-link-status"]) == ("slave", "ok")
            and int(replica["master-port"]) == primary.port
        }
        return (
            (int(seen["port"]), seen["flags"]) == (primary.port, "master")
            and int(seen["num-other-sentinels"]) == len(self.sentinels) - 1
            and replicas == {server.port for server in self._running()} - {primary.port}
        )
