"""One run of one proof: its dice, its store, its managers, its callers, its judgement."""

import asyncio
import gc
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from chaos.case import Terms, Violation
from chaos.checker import Verdict, check
from chaos.eavesdrop import listen
from chaos.load import Caller
from chaos.look import Look, look_through
from chaos.recorder import Recorder
from chaos.report import Outcome
from chaos.stores import NoServer, RedisStore, Store, opened, proxied
from chat_session import SessionManager

T = TypeVar("T")

PATIENCE = {"redis_max_retries": 100, "redis_retry_delay": 20}  # so that what fails is seen, and not the limit of tries
MOST_CONNECTIONS = 2  # of one manager to one server: it uses one, and another while that one closes
CLOSING = 300.0  # seconds that a soak may take beyond its load


class Skipped(Exception):
    """The proof cannot be run here; the text says why."""


@dataclass(frozen=True)
class Proof:
    """What is run: ``limit`` and ``short_limit`` are the seconds after which it counts as hung."""

    id: str
    title: str
    run: Callable[["Trial"], Coroutine[Any, Any, None]]
    stores: tuple[str, ...] = ("standalone",)
    limit: float = 300.0
    short_limit: float = 30.0
    in_short: bool = False


class Trial:
    """What a proof works with. All that it opens is closed at the end; every random choice is the seed's."""

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
        """What belongs to the form that is run."""
        return short if self.short else full

    def dice(self, name: object = "") -> random.Random:
        """A sequence of choices of its own for each name, so that tasks do not take each other's."""
        return random.Random(f"{self.outcome.seed}/{self.outcome.proof}/{name}")

    def running(self) -> bool:
        return not self.over

    async def open_store(self, *options: str, **client_settings: Any) -> Any:
        """The store of this run, started fresh. The settings go to every manager on it."""
        store = await self._stack.enter_async_context(opened(self.outcome.store, self.folder, *options))
        store.client_settings = client_settings
        return store

    async def open_proxies(self, store: Any) -> tuple[str, Any]:
        """The store's URL through proxies, and these."""
        return await self._stack.enter_async_context(proxied(store))

    def open_manager(self, store: Store, url: str | None = None, **settings: Any) -> SessionManager:
        """A manager with the patience of a proof, where nothing else is said."""
        manager = SessionManager.from_url(url or store.url, **self.settings_for(store, **settings))
        self._stack.push_async_callback(manager.close)
        self._managers.append(manager)
        return manager

    def settings_for(self, store: Store, **settings: Any) -> dict[str, Any]:
        """Those of a manager on this store: patient, where nothing else is said. The report names them."""
        patience = {} if self.outcome.store == "sqlite" else PATIENCE
        given = {"max_message_history": 10_000, **patience, **store.client_settings, **settings}
        for name, value in given.items():
            values = self._settings.setdefault(name.upper(), [])
            if str(value) not in values:
                values.append(str(value))
        return given

    def at_end(self, undo: Callable[[], Awaitable[None]]) -> None:
        """Undo this after what is opened later has been closed."""
        self._stack.push_async_callback(undo)

    def caller(self, name: object, manager: SessionManager) -> Caller:
        return Caller(str(name), manager, self.recorder, self.dice(name))

    def break_rule(self, text: str, session: str = "") -> None:
        """Note a promise that is this proof's alone."""
        self.violations.append(Violation(self.outcome.proof, session, text))

    def note(self, text: str) -> None:
        self.outcome.notes.append(text)

    def limit_outage(self, longest: float, outage: float | None = None, who: str = "a caller") -> None:
        """Break a rule if somebody was without an answer for more seconds: ``outage``, or the longest of all."""
        outage = self.recorder.longest_outage() if outage is None else outage
        if outage is not None and outage > longest:
            self.break_rule(f"{who} waited {outage:.1f} s for an answer; {longest:.1f} s are allowed")

    async def create_sessions(self, manager: SessionManager, count: int, *, users: int = 8) -> list[str]:
        """Sessions to write into, of a few users."""
        founder = self.caller("founder", manager)
        ids = [f"s{i}" for i in range(count)]
        await together(founder.create(session, f"u{i % users}") for i, session in enumerate(ids))
        return ids

    async def run_under(self, fault: Coroutine[Any, Any, Any], loads: Sequence[Coroutine[Any, Any, Any]]) -> None:
        """Run the loads; when the fault has been done with, they are told to end. The first failure ends all."""
        async with asyncio.TaskGroup() as group:
            for load in loads:
                group.create_task(load)
            await fault
            self.over = True

    async def judge(
        self, store: Store, terms: Terms | None = None, *, prefix: str = "", final_sweep: bool = True
    ) -> Verdict:
        """Sweep, look at the store through a fresh manager and by its keys, and let the checker decide.

        The managers of the load are closed first: what they were still busy with has happened then.
        """
        if isinstance(store, RedisStore):
            await self._check_connections(store)
        for done_with in self._managers:
            await done_with.close()
        self.outcome.settings = {name: " or ".join(values) for name, values in self._settings.items()} | store.facts()
        manager = self.open_manager(store, key_prefix=prefix)
        if final_sweep:
            await self.caller("judge", manager).sweep()
        look = await asyncio.to_thread(store.look, prefix)
        look.zero = (time.time() - self.recorder.moment()) * 1000
        users = {call.user for call in self.recorder.calls if call.user}
        await look_through(manager, users, look)
        verdict = check(self.recorder.calls, look, terms, leaks=self.recorder.leaks, unheard=self.recorder.unheard)
        self.violations += verdict.violations
        self.recorder.leaks.clear()
        self.recorder.unheard.clear()
        self.outcome.lost += len(verdict.lost)
        self.outcome.doubled += verdict.doubled
        self.outcome.torn += verdict.torn
        return verdict

    async def _check_connections(self, store: RedisStore) -> None:
        """Of a manager a few to each server, whatever happened to them; what is being closed gets time for it."""
        allowed = len(self._managers) * MOST_CONNECTIONS
        for _ in range(100):
            most = max(await asyncio.to_thread(store.count_connections))
            if most <= allowed:
                return
            await asyncio.sleep(0.02)
        self.break_rule(f"{most} connections to a server are open, {len(self._managers)} managers may have {allowed}")

    def close_books(self) -> None:
        """Write what was recorded into the outcome."""
        outcome, recorder = self.outcome, self.recorder
        counts = Counter(call.outcome for call in recorder.calls) if recorder.keep else recorder.counts
        outcome.acknowledged, outcome.unknown, outcome.failed = counts["ok"], counts["unknown"], counts["failed"]
        outcome.faults = dict(+self.faults)
        outage = recorder.longest_outage()
        outcome.longest_outage = None if outage is None else round(outage, 3)
        self.violations += check((), Look(), leaks=recorder.leaks, unheard=recorder.unheard).violations
        outcome.violations = [str(violation) for violation in self.violations]


async def run_proof(
    proof: Proof, store: str, seed: int, output: Path, *, short: bool, minutes: float | None = None
) -> Outcome:
    """Run it within its time; never raises. On a violation the history is kept in ``output``.

    ``minutes``: how long the load of a soak lasts.
    """
    outcome = Outcome(proof.id, proof.title, store, seed, date=f"{datetime.now(UTC):%Y-%m-%d}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        open_before = await asyncio.to_thread(_find_open, folder)
        async with AsyncExitStack() as stack:
            trial = Trial(outcome, Path(folder), stack, short=short, minutes=minutes)
            limit = proof.short_limit if short else proof.limit
            if minutes is not None:
                limit = 60 * minutes + CLOSING
            with listen(trial.recorder):
                await _attempt(proof, trial, limit)
                await _close(stack, trial)
                if left := _find_open(folder) - open_before:
                    trial.break_rule(f"{len(left)} sockets or files were left open: {sorted(left)[:3]}")
                gc.collect()  # an error that nobody retrieved is told when its task is collected
            trial.close_books()
    outcome.seconds = round(time.perf_counter() - started, 2)
    if outcome.violations:
        output.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs by now
        path = output / f"{proof.id}-{store}-{seed}.jsonl"
        trial.recorder.write(path, proof=proof.id, store=store, seed=seed, short=short, broken=outcome.violations)
        outcome.history = str(path)
    return outcome


async def _attempt(proof: Proof, trial: Trial, limit: float) -> None:
    outcome = trial.outcome
    try:
        async with asyncio.timeout(limit):
            await proof.run(trial)
    except (Skipped, NoServer) as reason:
        outcome.skipped = str(reason)
    except TimeoutError:
        trial.break_rule(f"was not done within {limit:g} s:\n{traceback.format_exc(limit=-4)}")
    except Exception:  # a load or a check that fails is a finding, too
        trial.break_rule(f"ended by an error:\n{traceback.format_exc()}")


async def _close(stack: AsyncExitStack, trial: Trial) -> None:
    """Close managers, then servers. A close that hangs is a finding, and so is a task that is left running."""
    try:
        async with asyncio.timeout(30):
            await stack.aclose()
    except TimeoutError:
        trial.break_rule("the managers and servers did not close within 30 s")
    await asyncio.sleep(0)  # what was cancelled in closing ends
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if ours := [str(task.get_coro()) for task in left if "chat_session" in str(task.get_coro())]:
        trial.break_rule(f"{len(ours)} tasks were left running after close: {ours[:3]}")


def _find_open(folder: str) -> set[str]:
    """The sockets of this process and the files of that folder that are open; empty where the system does not tell."""
    found = set()
    descriptors = Path("/proc/self/fd")
    for descriptor in descriptors.iterdir() if descriptors.exists() else ():
        with suppress(OSError):  # it is closed by now
            target = str(descriptor.readlink())
            if target.startswith(("socket:", folder)):
                found.add(f"{descriptor.name} {target}")
    return found


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results, in order. The first that fails ends the others: nothing goes on behind a broken proof."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]
