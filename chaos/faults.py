"""Faults that come by chance or by the clock."""

import asyncio
import random
from collections import Counter
from typing import Any

from chaos.stores import RedisStore


class Budget:
    """What a proxy does to replies: the fault by chance, so often in all, and then no more.

    ``spent`` is set with the last of them.
    """

    def __init__(self, fault: str, times: int, chance: float, dice: random.Random) -> None:
        self.spent = asyncio.Event()
        self._fault = fault
        self._left = times
        self._chance = chance
        self._dice = dice

    def __call__(self) -> str:
        if self._left == 0 or self._dice.random() >= self._chance:
            return "pass"
        self._left -= 1
        if self._left == 0:
            self.spent.set()
        return self._fault


async def command_every(
    store: RedisStore, interval: float, seconds: float, faults: Counter[str], *command: Any
) -> None:
    """Give every primary this command again and again, for so long. A number that it replies is what it did."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with store.clients() as clients:
        while loop.time() < end:
            for client in clients:
                reply = client.execute_command(*command)
                faults[" ".join(map(str, command[:2]))] += reply if type(reply) is int else 1
            await asyncio.sleep(interval)
