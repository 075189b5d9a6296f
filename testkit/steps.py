"""Runs the package's own calls one command at a time, so that a test decides in which order commands happen."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class StepExecutor:
    """In place of the connections: hands each command to the test and waits for its reply."""

    async def run(self, _name: str, command: Any, **_: Any) -> Any:
        return command.decode(await _Step(command))

    async def run_all(self, _name: str, commands: Any, **_: Any) -> list[Any]:
        return [command.decode(await _Step(command)) for command in commands]


class _Step:
    def __init__(self, command: Any) -> None:
        self._command = command

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._command)


def run_in_order(
    calls: list[Coroutine[Any, Any, Any]],
    execute: Callable[[Any], Any],
    choose: Callable[[int], int],
    stop_first_after: int = 1000,
) -> list[Any]:
    """Run calls, one command at a time, until all have ended; their results. ``choose`` one of n that have not.

    The first call stops for ever after so many commands, as if its process had been killed.
    """
    results: list[Any] = [None] * len(calls)
    waiting: dict[int, Any] = {}  # the next command of each
    left = stop_first_after

    def advance(number: int, reply: Any) -> None:
        try:
            waiting[number] = calls[number].send(reply)
        except StopIteration as end:
            waiting.pop(number, None)
            results[number] = end.value

    for number in range(len(calls)):
        advance(number, None)
    while waiting:
        number = list(waiting)[choose(len(waiting))]
        advance(number, execute(waiting[number]))
        left -= number == 0
        if left == 0 and waiting.pop(0, None) is not None:
            calls[0].close()
    return results


def try_every_order(run: Callable[[Callable[[int], int]], None]) -> int:
    """Call ``run`` once for each way in which the function can choose that it is given; how many ways there were."""
    tried, chosen = 0, list[int]()
    while True:
        made: list[tuple[int, int]] = []  # each choice, and of how many

        def choose(of: int, chosen: list[int] = chosen, made: list[tuple[int, int]] = made) -> int:
            made.append((chosen[len(made)] if len(made) < len(chosen) else 0, of))
            return made[-1][0]

        run(choose)
        tried += 1
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return tried
        chosen = [choice for choice, _ in made]
        chosen[-1] += 1
