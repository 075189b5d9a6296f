"""One run of one fault test: its random choices, its store, its managers, its callers, and the checker at the end."""

import asyncio
import gc
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from chaos.case import Allowances, Violation
from chaos.checker import Verdict, check
from chaos.desk_lists import finish_sweeps, was_used
from chaos.durability import durability_of
from chaos.editor import EDITED, USERS, Editor
from chaos.history import Recorder
from chaos.log_watch import watch_logs
from chaos.observer import take_snapshot
from chaos.report import Outcome
from chaos.snapshot import Snapshot
from chaos.workload import Caller
from chat_session import SessionManager
from testkit.backends import Backend, RedisBackend, SqliteBackend, start_backend_in_thread
from testkit.descriptors import open_sockets_and_files
from testkit.fault_proxy import FaultProxy, open_proxies
from testkit.programs import MissingProgram

T = TypeVar("T")

PATIENCE = {"redis_max_retries": 100, "redis_retry_delay": 20}  # a call fails because of its fault, not of this limit
MOST_CONNECTIONS = 2  # of one manager to one server: it uses one, and may be closing another
CLOSING = 300.0  # seconds that a soak may take beyond its workload


class Skipped(Exception):
    """The fault test cannot run here. The text says why."""


@dataclass(frozen=True)
class FaultTest:
    """``limit`` and ``short_limit`` are the seconds after which a run of it counts as hung."""

    id: str
    title: str
    run: Callable[["Trial"], Coroutine[Any, Any, None]]
    stores: tuple[str, ...] = ("standalone",)
    limit: float = 300.0
    short_limit: float = 30.0
    in_short: bool = False


class Trial:
    """What a fault test works with. All that it opens is closed at the end; every random choice follows the seed."""

    def __init__(
        self, outcome: Outcome, folder: Path, stack: AsyncExitStack, *, short: bool, minutes: float | None = None
    ) -> None:
        self.outcome = outcome
        self.minutes = minutes
        self.folder = folder
        self.short = short
        self.recorder = Recorder()
        self.faults: Counter[str] = Counter()
        self.over = False
        self._stack = stack
        self._managers: list[SessionManager] = []
        self.violations: list[Violation] = []
        self._settings: dict[str, list[str]] = {}

    def pick(self, full: T, short: T) -> T:
        """One value for the full form of the test, another for the short form."""
        return short if self.short else full

    def rng(self, name: object = "") -> random.Random:
        """A random generator for each name. Tasks with their own generators do not influence each other's choices."""
        return random.Random(f"{self.outcome.seed}/{self.outcome.fault_test}/{name}")

    def running(self) -> bool:
        return not self.over

    async def open_backend(self, *options: str, **settings: Any) -> Any:
        """The store of this run, started fresh. ``settings`` go to every manager on it.

        The type is Any: which kind of backend it is depends on the store that the run was started for.
        """
        backend: Backend
        if self.outcome.store == "sqlite":
            backend = SqliteBackend(self.folder / "chat.db")
        else:
            starting = start_backend_in_thread(self.outcome.store, self.folder / "s", *options)
            backend = await self._stack.enter_async_context(starting)
        backend.settings |= settings
        return backend

    async def open_proxies(self, backend: RedisBackend[Any]) -> tuple[str, list[FaultProxy]]:
        """The URL of the store through fault proxies, and the proxies."""
        return await self._stack.enter_async_context(open_proxies(backend))

    def open_manager(self, backend: Backend, url: str | None = None, **settings: Any) -> SessionManager:
        """A manager that is patient, unless ``settings`` say otherwise."""
        manager = SessionManager.from_url(url or backend.url, **self.settings_for(backend, **settings))
        self._stack.push_async_callback(manager.close)
        self._managers.append(manager)
        return manager

    def settings_for(self, backend: Backend, **settings: Any) -> dict[str, Any]:
        """The settings of a manager on this store, which the report names. Many retries, unless said otherwise."""
        patience = {} if isinstance(backend, SqliteBackend) else PATIENCE
        given = {"max_message_history": 10_000, **patience, **backend.settings, **settings}
        for name, value in given.items():
            values = self._settings.setdefault(name.upper(), [])
            if str(value) not in values:
                values.append(str(value))
        return given

    def at_end(self, undo: Callable[[], Awaitable[None]]) -> None:
        """Call ``undo`` at the end, after everything that is opened from now on has been closed."""
        self._stack.push_async_callback(undo)

    def caller(self, name: object, manager: SessionManager) -> Caller:
        return Caller(str(name), manager, self.recorder, self.rng(name))

    def editor(self, name: object, manager: SessionManager) -> Editor:
        return Editor(str(name), manager, self.recorder, self.rng(name))

    async def create_edited_sessions(self, manager: SessionManager) -> list[str]:
        """Sessions for editors, one of each kind and one more."""
        ids = list(EDITED)
        founder = self.caller("editors' founder", manager)
        await together(founder.create(session, USERS[i % len(USERS)]) for i, session in enumerate(ids))
        return ids

    async def edit_in(self, managers: Sequence[SessionManager], count: int = 4) -> list[Coroutine[Any, Any, None]]:
        """A workload of editors in sessions of their own, which the first manager creates."""
        ids = await self.create_edited_sessions(managers[0])
        editors = [self.editor(f"e{i}", managers[i % len(managers)]) for i in range(count)]
        return [editor.edit(ids, self.running) for editor in editors]

    def break_rule(self, text: str, session: str = "") -> None:
        """Record that a promise was broken which only this fault test checks."""
        self.violations.append(Violation(self.outcome.fault_test, session, text))

    def note(self, text: str) -> None:
        self.outcome.notes.append(text)

    def limit_outage(self, longest: float, outage: float | None = None, who: str = "a caller") -> None:
        """Break a rule if ``outage`` is longer than allowed. By default it is the longest outage of all callers."""
        outage = self.recorder.longest_outage() if outage is None else outage
        if outage is not None and outage > longest:
            self.break_rule(f"{who} waited {outage:.1f} s for an answer; {longest:.1f} s are allowed")

    async def create_sessions(self, manager: SessionManager, count: int, *, users: int = 8) -> list[str]:
        """Sessions to write into, which belong to a few users."""
        founder = self.caller("founder", manager)
        ids = [f"s{i}" for i in range(count)]
        await together(founder.create(session, f"u{i % users}") for i, session in enumerate(ids))
        return ids

    async def run_with_nemesis(
        self, nemesis: Coroutine[Any, Any, Any], workload: Sequence[Coroutine[Any, Any, Any]]
    ) -> None:
        """Run the workload until the nemesis, which injects the faults, is done. The first exception ends all."""
        async with asyncio.TaskGroup() as group:
            for load in workload:
                group.create_task(load)
            await nemesis
            self.over = True

    async def judge(
        self, backend: Backend, allowances: Allowances | None = None, *, prefix: str = "", final_sweep: bool = True
    ) -> Verdict:
        """Sweep, take a snapshot of the store through a fresh manager, and check the history against it.

        The managers of the workload are closed first, so that nothing of it is still under way.
        """
        if isinstance(backend, RedisBackend):
            await self._check_connections(backend)
        for done_with in self._managers:
            await done_with.close()
        settings = {name: " or ".join(values) for name, values in self._settings.items()}
        self.outcome.settings = settings | durability_of(backend)
        manager = self.open_manager(backend, key_prefix=prefix)
        if final_sweep:
            await self.caller("judge", manager).sweep()
        if was_used(self.recorder.history):
            await finish_sweeps(backend, self.caller("judge", manager), prefix)
        snapshot = await take_snapshot(backend, manager, self.recorder, prefix)
        recorder = self.recorder
        verdict = check(recorder.history, snapshot, allowances, leaks=recorder.leaks, unhandled=recorder.unhandled)
        self.violations += verdict.violations
        recorder.leaks.clear()
        recorder.unhandled.clear()
        self.outcome.lost += len(verdict.lost)
        self.outcome.doubled += verdict.doubled
        self.outcome.inconsistent += verdict.inconsistent
        return verdict

    async def _check_connections(self, backend: RedisBackend[Any]) -> None:
        """Each manager may have two connections to each server. Connections that are being closed get 2 s for it."""
        allowed = len(self._managers) * MOST_CONNECTIONS
        for _ in range(100):
            most = max(await asyncio.to_thread(backend.count_connections))
            if most <= allowed:
                return
            await asyncio.sleep(0.02)
        self.break_rule(f"{most} connections to a server are open, {len(self._managers)} managers may have {allowed}")

    def finish_outcome(self) -> None:
        """Copy what was recorded into the outcome."""
        outcome, recorder = self.outcome, self.recorder
        counts = Counter(op.outcome for op in recorder.history) if recorder.keep else recorder.counts
        outcome.acknowledged, outcome.unknown, outcome.failed = counts["ok"], counts["unknown"], counts["failed"]
        outcome.faults = dict(+self.faults)
        outage = recorder.longest_outage()
        outcome.longest_outage = None if outage is None else round(outage, 3)
        self.violations += check((), Snapshot(), leaks=recorder.leaks, unhandled=recorder.unhandled).violations
        outcome.violations = [str(violation) for violation in self.violations]


async def run_fault_test(
    fault_test: FaultTest, store: str, seed: int, output: Path, *, short: bool, minutes: float | None = None
) -> Outcome:
    """Run it within its time limit. Never raises. If a promise was broken, the history is kept in ``output``.

    ``minutes``: how long the workload of a soak lasts.
    """
    outcome = Outcome(fault_test.id, fault_test.title, store, seed, date=f"{datetime.now(UTC):%Y-%m-%d}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        open_before = open_sockets_and_files(folder)
        async with AsyncExitStack() as stack:
            trial = Trial(outcome, Path(folder), stack, short=short, minutes=minutes)
            limit = fault_test.short_limit if short else fault_test.limit
            if minutes is not None:
                limit = 60 * minutes + CLOSING
            with watch_logs(trial.recorder):
                await _attempt(fault_test, trial, limit)
                await _close(stack, trial)
                if left := open_sockets_and_files(folder) - open_before:
                    trial.break_rule(f"{len(left)} sockets or files were left open: {sorted(left)[:3]}")
                gc.collect()  # an exception that nobody retrieved is reported when its task is collected
            trial.finish_outcome()
    outcome.seconds = round(time.perf_counter() - started, 2)
    if outcome.violations:
        output.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs by now
        path = output / f"{fault_test.id}-{store}-{seed}.jsonl"
        trial.recorder.write(
            path, fault_test=fault_test.id, store=store, seed=seed, short=short, broken=outcome.violations
        )
        outcome.history = str(path)
    return outcome


async def _attempt(fault_test: FaultTest, trial: Trial, limit: float) -> None:
    outcome = trial.outcome
    try:
        async with asyncio.timeout(limit):
            await fault_test.run(trial)
    except (Skipped, MissingProgram) as reason:
        outcome.skipped = str(reason)
    except TimeoutError:
        trial.break_rule(f"was not done within {limit:g} s:\n{traceback.format_exc(limit=-4)}")
    except Exception:  # a workload or a check that fails is a finding, too
        trial.break_rule(f"ended by an error:\n{traceback.format_exc()}")


async def _close(stack: AsyncExitStack, trial: Trial) -> None:
    """Close managers, then servers. A close that hangs breaks a promise, and so does a task that is left running."""
    try:
        async with asyncio.timeout(30):
            await stack.aclose()
    except TimeoutError:
        trial.break_rule("the managers and servers did not close within 30 s")
    await asyncio.sleep(0)  # tasks that closing cancelled end now
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if ours := [str(task.get_coro()) for task in left if "chat_session" in str(task.get_coro())]:
        trial.break_rule(f"{len(ours)} tasks were left running after close: {ours[:3]}")


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results, in order. The first exception ends all: nothing goes on in the background of a broken test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(op) for op in calls]
    return [task.result() for task in tasks]
