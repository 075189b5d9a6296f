"""What Sentinel and Cluster have in common: nodes that start together, and waiting until all of them are healthy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from testkit.ports import HOST
from testkit.servers import PATIENCE, Server, wait_until
from testkit.tls import Tls

# A killed server comes back with what it had, and full syncs start at once instead of after 5 s.
ON_ITS_DATA = ("--appendonly", "yes", "--repl-diskless-sync-delay", "0")


class Node(Server):
    """One process of a topology. Its client answers or fails at once: redis-py's default would try eleven times."""

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket), db=database, socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    def ask(self, *command: str | int) -> Any:
        """The reply to a command, as text and lists, in the form of the second protocol."""
        with redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2
        ) as client:
            client.response_callbacks.clear()
            return _text(client.execute_command(*command))

    def replication(self) -> dict[str, str]:
        return parse_info(self.ask("INFO", "replication"))


class Topology(ABC):
    """Processes that start together when the block is entered. At its end all are killed, also frozen ones."""

    servers: tuple[Node, ...] = ()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the whole topology, as an application gives it."""

    @abstractmethod
    def primaries(self) -> Sequence[Server]:
        """The servers that take writes now."""

    @abstractmethod
    def client(self) -> Any:
        """A plain synchronous client of what is stored."""

    def flush(self) -> None:
        for primary in self.primaries():
            primary.flush()

    def wait_until_healthy(self, within: float = PATIENCE) -> None:
        """Wait until all running processes work together. Killed ones that were not restarted are not waited for."""
        wait_until(self._healthy, f"{type(self).__name__} healthy", within)

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _healthy(self) -> bool: ...

    def _processes(self) -> Sequence[Node]:
        return self.servers

    def _end(self) -> None:
        for node in self._processes():
            node.kill()  # a stop would wait for replicas, and would never end for a frozen process

    def _running(self) -> list[Node]:
        return [server for server in self.servers if server.running]

    def _at(self, port: int) -> Node:
        return next(server for server in self.servers if server.port == port)


def follows(server: Node, primary: Node | None) -> bool:
    """Whether a server is a replica that has finished its first sync. With ``primary``: whether it is its replica."""
    state = server.replication()
    if state["role"] != "slave" or (primary is not None and int(state["master_port"]) != primary.port):
        return False
    return state["master_link_status"] == "up" and state["master_sync_in_progress"] == "0"


def scheme(tls: Tls | None) -> str:
    return "rediss" if tls else "redis"


def addresses_of(nodes: Sequence[Node]) -> str:
    return ",".join(f"{HOST}:{node.port}" for node in nodes)


def _text(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_text(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


def parse_info(info: str) -> dict[str, str]:
    """The fields of an INFO reply."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


def pairs(flat: list[str]) -> dict[str, str]:
    """A reply of names and values in turn, as a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
