"""A thread that owns one connection and runs all queued jobs in one transaction.

Writes that wait at the same time share one commit, and with it one sync of the disk. A job that raises (its session
is gone, for example) is undone alone. If the commit fails, all jobs of the batch fail.
"""

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from chat_session.errors import ManagerClosed
from chat_session.storage.sqlite.changes import Changes
from chat_session.storage.sqlite.faults import explain
from chat_session.storage.sqlite.file import DatabaseFile

P = ParamSpec("P")
T = TypeVar("T")

MAX_BATCH = 256
CHECK_EVERY = 0.05  # seconds between a reader's checks that the file is in its place
MAX_RETRY_DELAY = 0.005  # seconds between two attempts on a file that another process holds

Work = Callable[[sqlite3.Connection], Any]
Executor = sqlite3.Connection | sqlite3.Cursor


class _Job(NamedTuple):
    name: str
    work: Work
    expires: float  # by the monotonic clock
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Worker:
    """``begin`` is "BEGIN IMMEDIATE" for the writer, "BEGIN" for a reader. ``changes`` is told of each commit."""

    def __init__(self, file: DatabaseFile, begin: str, call_timeout: float, changes: Changes | None = None) -> None:
        self._file = file
        self._begin = begin
        self._call_timeout = call_timeout
        self._changes = changes
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None  # used by the thread only
        self._checked = 0.0  # when the file was last in its place
        self._ended: asyncio.Future[None] | None = None
        self._closed = False

    async def run(self, name: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction; the result, once it is committed. Raises StoreError, ManagerClosed."""
        if self._closed:
            raise ManagerClosed
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"chat-session {self._begin}", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(name, work, time.monotonic() + self._call_timeout, loop, answer))
        return await answer

    def call(
        self, command: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run a function on the connection under its own name."""
        return self.run(command.__name__, lambda db: command(db, *args, **kwargs))

    async def close(self) -> None:
        """Run the queued jobs without waiting for other processes, then close the file.

        The thread itself reports its end: while the interpreter exits, no other thread can be started to wait for it.
        """
        first, self._closed = not self._closed, True
        if self._thread is not None and first:
            self._ended = asyncio.get_running_loop().create_future()
            self._jobs.put(None)
            await self._ended
            self._thread.join()  # at once: it is at its last line

    def _serve(self) -> None:
        closing_down = False
        while not closing_down:
            batch, closing_down = self._take()
            while batch:
                batch = self._run_batch(batch)
        if self._connection is not None:
            self._connection.close()
        if self._ended is not None:
            _tell(self._ended.get_loop(), _resolve, [(self._ended, None)])

    def _run_batch(self, batch: list[_Job]) -> list[_Job]:
        """Run and answer the jobs. Returns those that may wait longer, if another process holds the file."""
        deadline = min(job.expires for job in batch)
        try:
            self._connection = self._connection or self._open(deadline)
            outcomes = self._transact(self._connection, batch, deadline)
        except Exception as error:  # each caller gets a typed error, whatever broke
            now = time.monotonic()
            failed = [job for job in batch if job.expires <= now] if _is_busy(error) else []
            failed = failed or batch
            error = _drop_frames(error)
            _answer(failed, [explain(error, self._file.path, job.name) for job in failed])
            return [job for job in batch if job not in failed]
        _answer(batch, outcomes)
        return []

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that are queued behind it; and whether the worker is to end.

        Jobs that were cancelled before they began are left out.
        """
        jobs = [self._jobs.get()]
        with suppress(Empty):
            while len(jobs) < MAX_BATCH and jobs[-1] is not None:
                jobs.append(self._jobs.get_nowait())
        return [job for job in jobs if job is not None and not job.answer.cancelled()], jobs[-1] is None

    def _open(self, deadline: float) -> sqlite3.Connection:
        execute = partial(self._execute_when_free, deadline=deadline)
        connection = self._file.open(self._call_timeout, execute)
        if self._begin == "BEGIN IMMEDIATE":
            connection.execute("PRAGMA busy_timeout=0")  # _execute_when_free waits instead
        if self._changes is not None:
            self._changes.install(connection, execute)
        return connection

    def _execute_when_free(self, connection: Executor, statement: str, deadline: float) -> None:
        """Execute it as soon as no other process holds the file.

        SQLite's own waiting gets slower with each attempt, down to ten attempts a second: beside three busy writers
        a fourth waited for 5 s. SQLite 3.40 does not wait at all when several processes change a new file to WAL.
        """
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                late = self._closed or time.monotonic() > deadline
                if not _is_busy(error) or late:
                    raise
                time.sleep(random.uniform(0, MAX_RETRY_DELAY))  # noqa: S311 - random, so that two processes do not collide again

    def _transact(self, connection: sqlite3.Connection, batch: Sequence[_Job], deadline: float) -> list[Any]:
        with closing(connection.cursor()) as cursor:
            self._execute_when_free(cursor, self._begin, deadline)
            try:
                outcomes = [self._run_one(connection, cursor, job) for job in batch]
                self._check_in_place()
                self._execute_when_free(cursor, "COMMIT", deadline)
            except BaseException:
                with suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise
        if self._changes is not None:
            self._changes.committed()
        return outcomes

    def _check_in_place(self) -> None:
        """Before each commit of writes. A reader checks every 50 ms, because a check takes a tenth of a read."""
        now = time.monotonic()
        if self._begin == "BEGIN IMMEDIATE" or now - self._checked > CHECK_EVERY:
            self._file.check_in_place()
            self._checked = now

    def _run_one(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, job: _Job) -> Any:
        """The job's result or its error. A job that fails is undone alone, unless SQLite ended the transaction."""
        cursor.execute("SAVEPOINT job")
        try:
            outcome = job.work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise
            cursor.execute("ROLLBACK TO job")
            outcome = explain(_drop_frames(error), self._file.path, job.name)
        cursor.execute("RELEASE job")
        return outcome


def _is_busy(error: Exception) -> bool:
    """Whether another process holds the file."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _drop_frames(error: Exception) -> Exception:
    """Without its frames: a caller that kept the error would also keep their cursors, and the transaction open."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error


def _answer(batch: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    """Give all answers to each event loop in one step."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, outcome in zip(batch, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job.answer, outcome))
    for loop, answers in by_loop.items():
        _tell(loop, _resolve, answers)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: Any) -> None:
    with suppress(RuntimeError):  # the loop was closed, so nobody waits any more
        loop.call_soon_threadsafe(function, argument)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for answer, outcome in answers:
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
