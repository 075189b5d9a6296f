"""Injects faults, at random or at regular times."""

import asyncio
import random
from collections import Counter
from typing import Any

from testkit.backends import RedisBackend


class FaultBudget:
    """Decides what a fault proxy does to a reply: with the given ``chance`` the fault, and ``times`` in all.

    ``spent`` is set with the last fault. From then on all replies pass.
    """

    def __init__(self, fault: str, times: int, chance: float, rng: random.Random) -> None:
        self.spent = asyncio.Event()
        self._fault = fault
        self._left = times
        self._chance = chance
        self._dice = rng

    def __call__(self) -> str:
        if self._left == 0 or self._dice.random() >= self._chance:
            return "pass"
        self._left -= 1
        if self._left == 0:
            self.spent.set()
        return self._fault


async def command_every(
    backend: RedisBackend[Any], interval: float, seconds: float, faults: Counter[str], *command: Any
) -> None:
    """Send every primary a command again and again. If it replies with a number, that number of faults is counted."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with backend.clients() as clients:
        while loop.time() < end:
            for client in clients:
                reply = client.execute_command(*command)
                faults[" ".join(map(str, command[:2]))] += reply if type(reply) is int else 1
            await asyncio.sleep(interval)
