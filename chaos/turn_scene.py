"""What the fault tests of turns have in common: customers who write, and worker processes that answer them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from chaos.case import Allowances
from chaos.checker import Verdict
from chaos.history import Operation
from chaos.observer import LIMIT, read_message
from chaos.trial import Trial, together
from chaos.turn_rules import Answers
from chaos.workers import Workers
from chaos.workload import Caller
from chat_session.testing.waiting import until
from testkit.backends import Backend

WORKERS, CALLERS = 4, 3  # processes that answer, and the callers in each
CUSTOMERS, PAUSE = 4, 0.02  # how many write, and the seconds at most between two questions
QUESTIONS = (1, 1, 2, 3)  # of how many messages a question may be
DRAINED = 30.0  # seconds in which everything should be answered once the customers are silent
FOUND = 15.0  # seconds in which sessions should be found whose workers are gone: a look may be five seconds away
PATIENT = 60.0  # seconds for what takes a few milliseconds, on a busy machine
NEWEST = 500  # messages among which a reply is looked for, again and again
ASKED_AGAIN = 5  # at the end one of so many sessions has something unanswered

Act = Callable[["Scene"], Coroutine[Any, Any, Any]]


class Scene:
    """The sessions of some customers. ``said``: how many messages the customers have written."""

    def __init__(self, trial: Trial, backend: Backend, count: int) -> None:
        self.trial = trial
        self.sessions = [f"turns.{number}" for number in range(count)]
        managers = [trial.open_manager(backend) for _ in range(CUSTOMERS)]
        self.manager = managers[0]
        self.said = 0
        self._backend = backend
        self._customers = [trial.caller(f"c{i}", manager) for i, manager in enumerate(managers)]
        self._holds: dict[str, asyncio.Future[Operation]] = {}

    async def run(self, act: Act, workload: Sequence[Coroutine[Any, Any, None]] = (), workers: int = WORKERS) -> None:
        """Customers write and workers answer until ``act`` is done; then until everything is answered.

        At the end the workers are gone, and some customers ask once more, so that some sessions wait for a worker.
        """
        await together(self._customers[0].create(session, "u") for session in self.sessions)
        self.trial.recorder.watch = self._note
        talks = [self._talk(customer) for customer in self._customers]
        async with Workers(self.trial.recorder) as self.workers:
            names = [f"any-w{number}" for number in range(workers)]

            async def begin_and_act() -> None:
                await together(self.start(name, CALLERS) for name in names)
                await act(self)

            await self.trial.run_with_nemesis(begin_and_act(), [*talks, *workload])
            await self._until_all_is_answered()
            for name in names:
                await self.workers.kill(name)
        asking = self.sessions[::ASKED_AGAIN]
        await together(self._customers[0].append(session) for session in asking)
        with suppress(TimeoutError):  # the checker says which one is not found
            await until(lambda: self._are_pending(len(asking)), FOUND)
        load = f"{workers} workers with {CALLERS} callers each, {CUSTOMERS} customers, {len(self.sessions)} sessions"
        self.trial.outcome.load = f"{load}, {self.said:,} messages of customers"

    async def judge(self, allowances: Allowances | None = None) -> Verdict:
        return await self.trial.judge(self._backend, allowances)

    async def start(self, name: str, callers: int = 1) -> None:
        """Start a worker. The first part of its name, up to the hyphen, says where it stops: see TurnWorker."""
        seed, settings = self.trial.rng(name).random(), self.trial.settings_for(self._backend)
        load = f"answer {name.partition('-')[0]}"
        await self.workers.start(name, self._backend.url, load, seed, callers=callers, settings=settings)

    async def hold(self, name: str) -> Operation:
        """Start a worker, and wait until it stops in a round: the operation names its session, turn and round."""
        reached = self._holds.setdefault(f"{name}.0", asyncio.get_running_loop().create_future())
        await self.start(name)
        async with asyncio.timeout(PATIENT):
            return await reached

    async def until_answered_by_another(self, hold: Operation, within: float) -> None:
        """Until another turn has answered the round. Raises TimeoutError."""

        async def is_answered() -> bool:
            history = await self.manager.get_history(hold.session, NEWEST)
            replies = map(read_message, history)
            return any(hold.ids[0] in reply.answers and reply.turn != hold.asked["turn"] for reply in replies)

        await until(is_answered, within)

    def operations_of(self, hold: Operation) -> list[Operation]:
        """What the worker of this hold has done in its turn since then."""
        turn = hold.asked["turn"]
        return [op for op in self.trial.recorder.history[hold.number + 1 :] if op.asked.get("turn") == turn]

    def _note(self, op: Operation) -> None:
        if op.kind == "hold" and (reached := self._holds.get(op.writer)) is not None and not reached.done():
            reached.set_result(op)

    async def _talk(self, customer: Caller) -> None:
        while self.trial.running():
            session = customer.rng.choice(self.sessions)
            for _ in range(customer.rng.choice(QUESTIONS)):
                await customer.append(session)
                self.said += 1
            await asyncio.sleep(customer.rng.uniform(0, PAUSE))

    async def _until_all_is_answered(self) -> None:
        left = set(self.sessions)

        async def is_left(session: str) -> bool:
            history = await self.manager.get_history(session, LIMIT)
            return bool(Answers(map(read_message, history)).unanswered)

        async def are_answered() -> bool:
            asked = sorted(left)
            answers = await together(map(is_left, asked))
            left.intersection_update(session for session, is_one in zip(asked, answers, strict=True) if is_one)
            return not left

        try:
            await until(are_answered, DRAINED)
        except TimeoutError:
            text = f"{DRAINED:g} s after the last question {len(left)} sessions are not answered: {sorted(left)[:5]}"
            self.trial.break_rule(text)

    async def _are_pending(self, count: int) -> bool:
        return len(await self.manager.pending_turns(LIMIT)) >= count
