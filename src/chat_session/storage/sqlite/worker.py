"""A thread that owns one connection and runs what has queued up together in one transaction.

Writes that wait for each other anyway so share one commit, and with it one sync of the disk. A job
that refuses (its session is gone, say) is undone alone; when the commit fails, all of them fail.
"""

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from chat_session.errors import ManagerClosed
from chat_session.storage.sqlite.faults import explain
from chat_session.storage.sqlite.file import DatabaseFile

T = TypeVar("T")

MAX_BATCH = 256
LOOK_EVERY = 0.05  # seconds between two looks of a reader whether the file is in its place
MAX_NAP = 0.005  # seconds between two looks whether the file is free

Work = Callable[[sqlite3.Connection], Any]
Executor = sqlite3.Connection | sqlite3.Cursor


class _Job(NamedTuple):
    name: str
    work: Work
    expires: float  # by the monotonic clock
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Worker:
    """``begin`` is "BEGIN IMMEDIATE" for the writer, "BEGIN" for a reader."""

    def __init__(self, file: DatabaseFile, begin: str, call_timeout: float) -> None:
        self._file = file
        self._begin = begin
        self._call_timeout = call_timeout
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None  # the thread's alone
        self._checked = 0.0  # when the file was last found in its place
        self._ended: asyncio.Future[None] | None = None
        self._closed = False

    async def run(self, name: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction; give its result once that is committed. Raises StoreError, ManagerClosed."""
        if self._closed:
            raise ManagerClosed
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"chat-session {self._begin}", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(name, work, time.monotonic() + self._call_timeout, loop, answer))
        return await answer

    async def close(self) -> None:
        """Do what is queued, but wait for no other process; then close the file.

        The thread says when it has ended: at the exit of the interpreter no other thread could be started to
        wait for it.
        """
        first, self._closed = not self._closed, True
        if self._thread is not None and first:
            self._ended = asyncio.get_running_loop().create_future()
            self._jobs.put(None)
            await self._ended
            self._thread.join()  # it is at its last line

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
        """Run and answer them. Those that may wait longer than others for a file that is taken are given back."""
        deadline = min(job.expires for job in batch)
        try:
            self._connection = self._connection or self._open(deadline)
            outcomes = self._transact(self._connection, batch, deadline)
        except Exception as error:  # whatever breaks, each caller learns of it, typed
            now = time.monotonic()
            failed = [job for job in batch if job.expires <= now] if _is_busy(error) else []
            failed = failed or batch
            error = _let_go(error)
            _answer(failed, [explain(error, self._file.path, job.name) for job in failed])
            return [job for job in batch if job not in failed]
        _answer(batch, outcomes)
        return []

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that queued up behind it; whether it was the end of them.

        What was cancelled before it began is left out.
        """
        jobs = [self._jobs.get()]
        with suppress(Empty):
            while len(jobs) < MAX_BATCH and jobs[-1] is not None:
                jobs.append(self._jobs.get_nowait())
        return [job for job in jobs if job is not None and not job.answer.cancelled()], jobs[-1] is None

    def _open(self, deadline: float) -> sqlite3.Connection:
        connection = self._file.open(self._call_timeout, partial(self._execute_when_free, deadline=deadline))
        if self._begin == "BEGIN IMMEDIATE":
            connection.execute("PRAGMA busy_timeout=0")  # it waits in a way of our own
        return connection

    def _execute_when_free(self, connection: Executor, statement: str, deadline: float) -> None:
        """Execute it as soon as no other process holds the file.

        SQLite itself asks ever more seldom, ten times a second in the end: beside three busy writers one was
        seen to wait for 5 s. For the change to WAL, where processes that open a new file collide, 3.40 does not wait.
        """
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                late = self._closed or time.monotonic() > deadline
                if not _is_busy(error) or late:
                    raise
                time.sleep(random.uniform(0, MAX_NAP))  # noqa: S311 - so that no two of them keep in step

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
        return outcomes

    def _check_in_place(self) -> None:
        """Before each commit of writes; a reader looks now and then, since that takes a tenth of a read."""
        now = time.monotonic()
        if self._begin == "BEGIN IMMEDIATE" or now - self._checked > LOOK_EVERY:
            self._file.check_in_place()
            self._checked = now

    def _run_one(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, job: _Job) -> Any:
        """Its result, or its error: a job that fails is undone alone, unless SQLite gave up the transaction."""
        cursor.execute("SAVEPOINT job")
        try:
            outcome = job.work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise
            cursor.execute("ROLLBACK TO job")
            outcome = explain(_let_go(error), self._file.path, job.name)
        cursor.execute("RELEASE job")
        return outcome


def _is_busy(error: Exception) -> bool:
    """Another process holds the file."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _let_go(error: Exception) -> Exception:
    """Whoever keeps the error must not keep the cursors in its frames: they would hold the transaction open."""
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error


def _answer(batch: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    """Hand all answers over to each event loop in one go."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, outcome in zip(batch, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job.answer, outcome))
    for loop, answers in by_loop.items():
        _tell(loop, _resolve, answers)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: Any) -> None:
    with suppress(RuntimeError):  # the loop was closed; nobody waits any more
        loop.call_soon_threadsafe(function, argument)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for answer, outcome in answers:
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
