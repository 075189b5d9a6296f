"""The command migrate: every living session from one store to another, compared with it at the end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chat_session.cli.comparing import TOLERANCE, Unmovable, Whole, compare, find_progress, read_whole
from chat_session.cli.exporting import each_once
from chat_session.cli.failures import PARTLY, report
from chat_session.cli.opening import describe_store
from chat_session.cli.options import Json, Layout, Prefix, Trim
from chat_session.cli.output import ERR, Output, visible
from chat_session.cli.runner import run, task_group
from chat_session.cli.tables import facts_table, make_table
from chat_session.errors import InvalidInput, SessionExists, SettingsError, StoreCorrupt, StoreError
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.message import MAX_WRITE_BYTES, UNLIMITED, check_history
from chat_session.session import Session, check_ttl

SLOTS = 16  # sessions under way: their round trips are shared, and no more than 16 histories are held
_ANY_TEXT = 64 * 1024 * 1024  # a text that is in one store is not too long for the other

Work = Callable[[Session | StoreCorrupt], Awaitable[None]]


def migrate(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="The store to copy.", show_default=False)],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="The store to fill.", show_default=False)],
    from_prefix: Prefix = None,
    to_prefix: Prefix = None,
    from_layout: Layout = None,
    to_layout: Layout = None,
    trim: Trim = False,
    json: Json = False,
) -> int:
    """Copy every living session to another store, and compare.

    A session keeps its fields, its messages with their ids and numbers, and the time it has left.
    The source stays as it is.

    Run again, also after it was stopped or killed, it leaves what is equal, replaces what has changed
    in the source since, and leaves and reports what has changed in the target. At the end each session
    of the source is compared with the target's: exit code 1 if any differs or cannot be read. A session
    that holds more than MAX_MESSAGE_HISTORY messages is not copied, unless --trim is given.
    """
    read_with, write_with = _names(from_prefix, from_layout), _names(to_prefix, to_layout)

    async def work() -> int:
        async with (
            SessionManager.from_url(source, must_exist=True, **read_with) as origin,
            SessionManager.from_url(
                target, **write_with, max_message_bytes=_ANY_TEXT, max_content_bytes=MAX_WRITE_BYTES
            ) as goal,
        ):
            total = await origin.get_active_sessions_count()  # before anything is written to the target
            await _refuse_one_store(source, _names(from_prefix, to_layout), goal)
            return await _migrate(Migration(origin, goal, trim=trim), total, Output(json))

    return run(work())


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """A session of the source that the target does not have as it is."""

    session_id: str
    reason: str


class Tally(msgspec.Struct, rename="camel"):
    """What a migration did so far.

    ``kept``: left as they were, for the target's changes or a limit; ``messages_dropped``: by --trim.
    """

    sessions: int = 0
    copied: int = 0
    replaced: int = 0
    unchanged: int = 0
    kept: int = 0
    messages: int = 0
    messages_dropped: int = 0
    verified: int = 0


class Migration:
    """Copies a session in one atomic step, so that a stop at any moment leaves whole sessions.

    To replace one takes two steps. Between them the target lacks it. A signal waits for the second where the
    target answers at once; otherwise, as after kill -9, the next run copies it. Nobody else should write to
    the target meanwhile.

    A change is found by last activity, message count, epoch and revision, which only ever grow: where
    the source's are ahead, or only metadata and lifetime differ, the source's session replaces the
    target's; where the target's are ahead in anything, it stays.

    A session that cannot be read on either side is left as it is, and its error kept in ``damaged``.
    """

    def __init__(self, source: SessionManager, target: SessionManager, *, trim: bool = False) -> None:
        self.tally = Tally()
        self.damaged: dict[str, StoreCorrupt] = {}
        self._bound = target.settings.max_message_history
        self._trim = trim
        self.differences: dict[str, str] = {}
        self.source, self.target = source, target
        self._kept: dict[str, str] = {}

    async def copy(self, seen: Session | StoreCorrupt) -> None:
        """Bring one session of the source to the target, if it is to be brought. Raises StoreError."""
        self.tally.sessions += 1
        if isinstance(seen, StoreCorrupt):
            self.damaged[seen.key] = seen
            return
        try:
            await self._copy(seen)
        except StoreCorrupt as damage:
            self.damaged[damage.key] = damage.with_traceback(None)
        except (Unmovable, InvalidInput, SessionExists) as refusal:
            self.tally.kept += 1
            self._kept[seen.session_id] = str(refusal)

    async def verify(self, seen: Session | StoreCorrupt) -> None:
        """Compare one session of the source with the target's. Raises StoreError."""
        if isinstance(seen, StoreCorrupt):
            self.damaged[seen.key] = seen
            return
        session_id = seen.session_id
        try:
            ours, theirs = await asyncio.gather(self._read_source(session_id), read_whole(self.target, session_id))
        except StoreCorrupt as damage:
            self.damaged[damage.key] = damage.with_traceback(None)
            return
        except Unmovable as restless:
            self.differences[session_id] = str(restless)
            return
        if ours is None:
            return  # it died
        if theirs is None:
            if ours.deadline.latest - time.monotonic() > TOLERANCE:
                self.differences[session_id] = self._kept.get(session_id, "It is missing in the target.")
        elif differing := compare(ours, theirs):
            text = f"It differs in {', '.join(differing)}."
            self.differences[session_id] = self._kept.get(session_id, text)
        else:
            self.tally.verified += 1

    async def _copy(self, seen: Session) -> None:
        ours = await self._read_source(seen.session_id, seen)
        if ours is None:
            return  # it died since it was seen
        theirs = await read_whole(self.target, seen.session_id)
        if theirs is not None and not compare(ours, theirs):
            self.tally.unchanged += 1
            return
        if theirs is not None and (reason := find_progress(ours, theirs)):
            raise Unmovable(reason)
        self._check(ours)
        if theirs is None:
            await self._restore(ours)
            self.tally.copied += 1
        else:
            await _finish(self._replace(ours))
            self.tally.replaced += 1
        self.tally.messages += len(ours.history)
        self.tally.messages_dropped += ours.dropped

    async def _read_source(self, session_id: str, seen: Session | None = None) -> Whole | None:
        """The session as the target is to have it."""
        ours = await read_whole(self.source, session_id, seen)
        surplus = len(ours.history) - self._bound_of(ours.session) if ours else 0
        if ours is None or surplus <= 0 or not self._trim:
            return ours
        return ours._replace(history=ours.history[surplus:], dropped=surplus)

    def _check(self, ours: Whole) -> None:
        """Raise what restore_session would, and more, before anything is deleted or stored."""
        held = len(ours.history)
        bound = self._bound_of(ours.session)
        if held > bound:
            name = "its own bound" if ours.session.max_history else "MAX_MESSAGE_HISTORY"
            reason = f"It holds {held} messages, but {name} is {bound}."
            raise Unmovable(f"{reason} Raise it, or pass --trim to drop the oldest messages.")
        Session.from_dict(ours.session.to_dict())
        check_ttl(ours.deadline.left())
        if ours.history:
            check_history(ours.history, UNLIMITED)
        if len({message.id for message in ours.history}) < held:
            raise Unmovable(
                "It holds two different messages with the same id, which no store of this package can hold."
            )

    def _bound_of(self, session: Session) -> int:
        return session.max_history or self._bound

    async def _restore(self, ours: Whole) -> None:
        await Inspector(self.target).restore_session(ours.session, ours.history, ttl_left=ours.deadline.left())

    async def _replace(self, ours: Whole) -> None:
        await self.target.delete_session(ours.session.session_id)
        await self._restore(ours)


async def _refuse_one_store(source: str, names: Mapping[str, Any], target: SessionManager) -> None:
    """Raise InvalidInput if source and target share keys, by whatever names they are reached.

    The layouts of one prefix share their index keys: each would take the other's sessions for dead.
    So the source is looked at through the target's layout, for a session that is made in the target.
    """
    probe = await target.create_session("chat-session migrate", ttl=60)
    one = False
    try:
        with suppress(SettingsError):  # a plain layout on a cluster: then the target is another store
            async with SessionManager.from_url(source, must_exist=True, **names) as mirror:
                one = await mirror.is_session_active(probe.session_id)
    finally:
        await target.delete_session(probe.session_id)
    if one:
        allowed = "another store than --from, or the same with another --to-prefix"
        raise InvalidInput("--to", allowed, describe_store(target.settings))


async def _migrate(migration: Migration, total: int, output: Output) -> int:
    started = time.perf_counter()
    try:
        with _progress() as progress:
            for name, work in (("copying", migration.copy), ("comparing", migration.verify)):
                await _for_each_session(migration.source, _counted(work, progress, name, total))
    except (StoreError, asyncio.CancelledError):
        _summarize(migration, time.perf_counter() - started, output)
        output.note(f"Stopped after {migration.tally.sessions} sessions. Run the command again to copy the rest.")
        raise
    _summarize(migration, time.perf_counter() - started, output)
    return PARTLY if migration.differences or migration.damaged else 0


async def _for_each_session(manager: SessionManager, work: Work) -> None:
    """Do ``work`` on every living session, several side by side. Raises what the first to fail raises."""
    slots = asyncio.Semaphore(SLOTS)

    async def work_on(session: Session | StoreCorrupt) -> None:
        try:
            await work(session)
        finally:
            slots.release()

    async with task_group() as group, aclosing(each_once(manager)) as sessions:
        async for session in sessions:
            await slots.acquire()
            group.create_task(work_on(session))


async def _finish(work: Awaitable[None]) -> None:
    """Await it, and when cancelled meanwhile all the same."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _names(prefix: str | None, layout: str | None) -> dict[str, Any]:
    """The settings that are given; the environment has the others."""
    given = {"key_prefix": prefix, "key_layout": layout}
    return {name: value for name, value in given.items() if value is not None}


def _counted(work: Work, progress: Progress, name: str, total: int) -> Work:
    task = progress.add_task(name, total=total, facts="")

    async def counted(session: Session | StoreCorrupt) -> None:
        await work(session)
        shown = progress.tasks[task]
        rate = f"{(shown.completed + 1) / shown.elapsed:.0f}/s" if shown.elapsed else ""
        progress.update(task, advance=1, facts=rate)

    return counted


def _progress() -> Progress:
    """On stderr, and only on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
    return Progress(*columns, TimeElapsedColumn(), console=ERR, transient=True, disable=not ERR.is_terminal)


def _summarize(migration: Migration, seconds: float, output: Output) -> None:
    sides = {"from": describe_store(migration.source.settings), "to": describe_store(migration.target.settings)}
    tally: dict[str, Any] = msgspec.to_builtins(migration.tally)
    speed = {"seconds": round(seconds, 3), "sessionsPerSecond": round(migration.tally.sessions / seconds)}
    differences = [Difference(*pair) for pair in sorted(migration.differences.items())]
    words = {
        **sides,
        "sessions": tally["sessions"],
        "copied": tally["copied"],
        "replaced, changed in the source": tally["replaced"],
        "equal already": tally["unchanged"],
        "not copied": tally["kept"],
        "cannot be read": len(migration.damaged),
        "messages copied": tally["messages"],
        "messages dropped": tally["messagesDropped"],
        "equal at the end": tally["verified"],
        "different at the end": len(differences),
        "seconds": speed["seconds"],
        "sessions per second": speed["sessionsPerSecond"],
    }
    shown: RenderableType = facts_table(list(words.items()))
    if differences:
        table = make_table("session", "difference")
        for difference in differences:
            table.add_row(visible(difference.session_id), visible(difference.reason))
        shown = Group(shown, table)
    damaged = [{"key": error.key, "problem": error.problem} for error in migration.damaged.values()]
    for error in migration.damaged.values():
        report(error, json=output.json)
    output.answer(sides | tally | {"differences": differences, "damaged": damaged} | speed, shown)
