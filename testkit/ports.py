"""Free ports of 127.0.0.1."""

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"
BUS = 10_000  # a cluster node also listens on its port + 10,000


def free_port() -> int:
    [port] = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Ports that are free, and whose cluster bus port is free, too.

    All are below the range that the system uses for outgoing connections. Otherwise an outgoing connection could
    take the port of a killed server before the server is started again.
    """
    found: list[int] = []
    rng = random.SystemRandom()  # a seeded generator would give the same ports to every test process
    with ExitStack() as held:
        for _ in range(10_000):
            if len(found) == count:
                return found
            port = rng.randrange(11_000, 11_000 + BUS)
            try:
                for number in (port, port + BUS):
                    held.enter_context(socket.socket()).bind((HOST, number))
            except OSError:
                continue
            found.append(port)
    raise RuntimeError(f"no {count} free ports")
