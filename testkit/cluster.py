"""Three primaries with one replica each. Slots can be moved between them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from redis.cluster import RedisCluster

from testkit.ports import HOST, free_ports
from testkit.programs import need_redis_cli
from testkit.servers import PATIENCE
from testkit.tls import Tls
from testkit.topology import ON_ITS_DATA, Node, Topology, addresses_of, follows, parse_info, scheme

SLOTS = 16384


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
            Node(program, folder / f"n{n}", *common, *(tls.options(port) if tls else ()), port=port)
            for n, port in enumerate(free_ports(6))
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(HOST, server.port) for server in self.servers]

    @property
    def url(self) -> str:
        return f"{scheme(self.tls)}+cluster://{addresses_of(self.servers)}"

    def primaries(self) -> list[Node]:
        """The running servers that own slots."""
        owners = set(self.owners().values())
        return [server for server in self.servers if server in owners]

    def owners(self) -> dict[int, Node]:
        """The running owner of each slot. Where two claim one, as after a restart, it is the one elected later."""
        claims = []
        for server in self._running():
            own = next(line for line in _lines(server) if "myself" in line.flags)
            claims.append((own.epoch, server.port, own.slots))
        return {slot: self._at(port) for _, port, slots in sorted(claims) for slot in slots}

    def client(self) -> RedisCluster:
        return RedisCluster(host=HOST, port=self._running()[0].port)

    def scan_keys(self, match: str = "*") -> Iterator[bytes]:
        for primary in self.primaries():
            with primary.client() as client:
                yield from client.scan_iter(match=match, count=1000)

    def kill_primary(self, slot: int = 0) -> Node:
        """Kill the owner of a slot. ``wait_until_healthy`` returns once its replica has taken over."""
        primary = self.owners()[slot]
        primary.kill()
        return primary

    def restart(self, server: Node) -> None:
        """Start a killed server again on its data. If it was replaced in the meantime, it becomes a replica."""
        server.start()

    def migrate_slot(self, slot: int, target_server: Node, keys_per_step: int = 10, pause: float = 0) -> int:
        """Move a slot with its keys as ``redis-cli --cluster reshard`` does; returns how many keys were moved.

        ``pause``: seconds after each step, in which the slot is on both servers.
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
        # The target first: if the source were told first and the target failed, nobody would own the slot.
        others = [server for server in self.primaries() if server not in (source, target_server)]
        for server in (target_server, source, *others):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return moved

    def _start(self) -> None:
        for server in self.servers:
            server.start()
        tool = need_redis_cli(self.program)
        nodes = [f"{HOST}:{server.port}" for server in self.servers]
        command = [tool, "--cluster", "create", *nodes, "--cluster-replicas", "1", "--cluster-yes"]
        if self.tls:
            command += ["--tls", "--cacert", self.tls.ca, "--cert", self.tls.cert, "--key", self.tls.key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} made no cluster:\n{done.stdout}{done.stderr}")
        self.wait_until_healthy()

    def _healthy(self) -> bool:
        """All running nodes are in order, and agree on the cluster: all running nodes, and every slot once."""
        running = self._running()
        views = {frozenset(_lines(server, but="fail")) for server in running}
        if len({frozenset(line.public() for line in view) for view in views}) != 1:
            return False
        seen = views.pop()
        return (
            {line.port for line in seen} == {server.port for server in running}
            and sorted(slot for line in seen for slot in line.slots) == list(range(SLOTS))
            and all(parse_info(server.ask("CLUSTER", "INFO"))["cluster_state"] == "ok" for server in running)
            and all(follows(self._at(line.port), None) for line in seen if not line.slots)
        )


class ClusterLine:
    """One line of CLUSTER NODES."""

    def __init__(self, line: str) -> None:
        self.id, address, flags, self.primary_id, _, _, epoch, self.link, *slots = line.split()
        self.port = int(address.partition("@")[0].rpartition(":")[2])
        self.flags = set(flags.split(","))
        self.epoch = int(epoch)
        ranges = [
            part.partition("-") for part in slots if not part.startswith("[")
        ]  # [ marks a slot that is being moved
        self.slots = [slot for low, _, high in ranges for slot in range(int(low), int(high or low) + 1)]

    def public(self) -> tuple[object, ...]:
        """What all nodes should agree on. A node that others doubt has one more flag."""
        return self.id, self.port, self.primary_id, self.link, *self.slots, *sorted(self.flags - {"myself"})


def _lines(server: Node, but: str = "") -> list[ClusterLine]:
    """All nodes as one of them sees them, except those with the flag ``but``."""
    lines = [ClusterLine(line) for line in server.ask("CLUSTER", "NODES").splitlines()]
    return [line for line in lines if but not in line.flags]
