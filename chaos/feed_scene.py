"""What the fault tests of the feed have in common: sessions, watchers in processes of their own, and who writes."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from chaos.case import Allowances
from chaos.checker import Verdict
from chaos.feed_writer import FeedWriter
from chaos.feeds import ABORTED, COMMITTED, GONE, RESET, STARTED
from chaos.history import Operation
from chaos.observer import LIMIT
from chaos.trial import Trial, together
from chaos.workers import Workers
from chat_session import SessionManager
from chat_session.testing.waiting import until
from testkit.backends import Backend

WRITERS, PAUSE = 4, 0.02  # who write, and the seconds at most between two of their messages
TOLD = 30.0  # seconds after the last write in which every watcher should have been told all, on a busy machine
PATIENT = 60.0  # seconds for what takes a few milliseconds, on a busy machine
CUSTOMER, STAFF = "watch", "watch inside"

Act = Callable[["FeedScene"], Coroutine[Any, Any, Any]]


class FeedScene:
    """``last`` is what each feed was told last; ``growing``, which reply grows for it. By watcher and session.

    ``url`` and ``settings`` are those of the watchers; by default those of all.
    """

    def __init__(
        self, trial: Trial, backend: Backend, count: int, url: str | None = None, settings: dict[str, Any] | None = None
    ) -> None:
        self.trial = trial
        self.backend = backend
        self.sessions = [f"feed.{number}" for number in range(count)]
        self._managers = [trial.open_manager(backend) for _ in range(WRITERS)]
        self.manager = self._managers[0]
        self.last: dict[str, Operation] = {}
        self.growing: dict[str, str] = {}
        self.holds: asyncio.Queue[Operation] = asyncio.Queue()
        self._url = url or backend.url
        self._settings = settings or {}
        self._watchers: dict[str, tuple[str, Sequence[str]]] = {}
        self._processes = 0

    async def run(
        self, act: Act, loads: Sequence[str] = (CUSTOMER, STAFF), workload: Sequence[Coroutine[Any, Any, None]] = ()
    ) -> None:
        """Watch with these loads until ``act`` is done, and all that was written until then is told."""
        founder = self.trial.caller("founder", self.manager)
        await together(founder.create(session, "u") for session in self.sessions)
        self.trial.recorder.watch = self._note
        async with Workers(self.trial.recorder) as self.workers:
            for number, load in enumerate(loads):
                await self.watch(f"v{number}", load)

            async def begin_and_act() -> None:
                await self.until(lambda: len(self.last) == len(loads) * len(self.sessions), PATIENT)
                await act(self)

            await self.trial.run_with_nemesis(begin_and_act(), workload)
            await self.until_all_is_told()
            for name in list(self._watchers):
                await self.leave(name)
        told = sum(op.kind == "told" for op in self.trial.recorder.history)
        self.trial.outcome.load = f"{len(self.sessions)} sessions, {len(loads)} watchers of each, {told:,} events told"

    async def judge(self, allowances: Allowances | None = None) -> Verdict:
        return await self.trial.judge(self.backend, allowances)

    def writers(self, count: int = WRITERS) -> list[Coroutine[Any, Any, None]]:
        """A workload of up to four writers, who write as long as the trial runs."""
        return [self._write(f"w{number}", manager) for number, manager in enumerate(self._managers[:count])]

    async def watch(self, name: str, load: str, process: str = "1") -> None:
        """Start a process that watches all sessions, each behind what the watcher of this name was told last."""
        self._processes += 1
        full = f"{name} {process}.{self._processes}"
        cursors = {
            session: op.told["cursor"] for session in self.sessions if (op := self.last.get(f"{name}/{session}"))
        }
        settings = self.trial.settings_for(self.backend) | self._settings
        seed = self.trial.rng(full).random()
        await self.workers.start(
            full, self._url, load, seed, sessions=self.sessions, cursors=cursors, settings=settings
        )
        self._watchers[full] = load, self.sessions

    async def leave(self, full: str) -> None:
        """Kill a process that watches."""
        await self.workers.kill(full)
        del self._watchers[full]

    async def replace_watchers(self) -> None:
        """Kill each process that watches; another one goes on with its cursors."""
        for full, (load, _) in list(self._watchers.items()):
            await self.leave(full)
            await self.watch(full.partition(" ")[0], load)
            self.trial.faults["watching process killed -9"] += 1

    @property
    def watching(self) -> list[str]:
        """The names of the processes that watch."""
        return list(self._watchers)

    async def stream(self, name: str, load: str = "stream", url: str | None = None) -> None:
        """Start a process that streams replies in all sessions."""
        settings, seed = self.trial.settings_for(self.backend), self.trial.rng(name).random()
        await self.workers.start(name, url or self.backend.url, load, seed, sessions=self.sessions, settings=settings)

    async def until(self, condition: Callable[[], bool], within: float) -> None:
        async def is_so() -> bool:
            return condition()

        await until(is_so, within)

    async def until_all_is_told(self) -> None:
        """If it does not come to that, the rule I33 or I34 says what is missing."""
        with suppress(TimeoutError):
            for session in self.sessions:
                history = await self.manager.get_history(session, LIMIT, include_internal=True)
                newest = {
                    inside: max((m.seq or 0 for m in history if inside or not m.internal), default=0)
                    for inside in (False, True)
                }
                await self.until(lambda session=session, newest=newest: self._is_told(session, newest), TOLD)  # type: ignore[misc]

    def _is_told(self, session: str, newest: dict[bool, int]) -> bool:
        """Whether all feeds of a session are at its end."""
        feeds = [(name, op) for name, op in self.last.items() if op.session == session]
        return all(
            op.told["at"] >= newest[op.asked["inside"]] and name not in self.growing and op.told["event"] not in GONE
            for name, op in feeds
        )

    def _note(self, op: Operation) -> None:
        if op.ended is None:
            return
        if op.kind == "hold":
            self.holds.put_nowait(op)
        if op.kind != "told":
            return
        self.last[op.writer] = op
        match op.told["event"]:
            case kind if kind == STARTED:
                self.growing[op.writer] = op.told["reply"]
            case kind if kind in (COMMITTED, ABORTED, RESET, *GONE):
                self.growing.pop(op.writer, None)

    async def _write(self, name: str, manager: SessionManager) -> None:
        writer = FeedWriter(name, manager, self.trial.recorder, self.trial.rng(name))
        while self.trial.running():
            await writer.append(writer.rng.choice(self.sessions))
            await asyncio.sleep(writer.rng.uniform(0, PAUSE))


def longest_delay(trial: Trial) -> float:
    """The longest time, in seconds, from the end of an append to its delivery to a watcher."""
    appended = {(op.session, op.id): op.ended for op in trial.recorder.history if op.kind == "append" and op.ended}
    told = (op for op in trial.recorder.history if op.kind == "told" and op.told["event"] == "message_appended")
    delays = (op.begun - appended.get((op.session, op.told["id"]), op.begun) for op in told)
    return max(delays, default=0.0)
