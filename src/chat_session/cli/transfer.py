"""The commands import and export, with their progress and their summaries."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import EllipsisType
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from chat_session.cli.bounds import LineTooLarge, weigh_line
from chat_session.cli.exporting import Exported, export_lines, replacing, write_to_stdout
from chat_session.cli.failures import PARTLY, say_bad_line, say_failure
from chat_session.cli.failures import report as report_error
from chat_session.cli.importing import SHOWN_LINES, Importer
from chat_session.cli.lines import Line, Source, read_lines
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, Trim, Ttl, Url, read_ttl
from chat_session.cli.output import ERR, Output
from chat_session.cli.tables import facts_table
from chat_session.errors import StoreCorrupt, StoreError
from chat_session.manager import SessionManager


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines, plain or gzip; - is standard input.")],
    user: Annotated[str | None, typer.Option(metavar="USER", help="Whose sessions, where a line does not say.")] = None,
    ttl: Ttl = None,
    trim: Trim = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Import sessions with their messages.

    FILE has one JSON object a line, as export writes them, or simply

    `{"conversation": ID, "user": USER, "messages": [{"from": "user", "text": …}, …]}`

    Other fields become metadata. --ttl is for sessions that do not bring their own. A bad line is
    reported by its number and the others are imported (exit code 1). Run twice, or again after it
    was stopped, it stores no message twice.

    A line whose session would hold more than MAX_MESSAGE_HISTORY messages is such a bad line, unless --trim
    is given.
    """
    seconds: int | EllipsisType | None = ... if ttl is None else read_ttl(ttl)

    async def work(manager: SessionManager) -> int:
        importer = Importer(manager, user=user, ttl=seconds, trim=trim, report=report)
        with Source(file) as source:
            return await _import(importer, source, Output(json))

    def report(number: int, reason: str) -> None:
        say_bad_line(number, reason, json=json)

    return run_on_store(url, work, create=True)


def export(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Left out or -: standard output. *.gz is packed.", show_default=False),
    ] = "-",
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only this user's sessions.")] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Export living sessions with their messages.

    One JSON object a line, for import to read: the session, and the messages it retains.

    FILE takes its name when it is complete; only you may read it. What import cannot bring back is
    the moment of the deadline: each ttl begins again. See migrate for that. A session that cannot be
    read is named on stderr and left out; one that is too large for import is named and written (exit code 1).
    """

    async def work(manager: SessionManager) -> int:
        started = time.perf_counter()
        tally = await _export(manager, file, user, json=json)
        summary = {"file": file, **msgspec.to_builtins(tally), "seconds": round(time.perf_counter() - started, 3)}
        if file == "-":
            Output(json).note(f"{tally.sessions} sessions with {tally.messages} messages exported")
        else:
            Output(json).answer(summary, facts_table(list(summary.items())))
        return PARTLY if tally.damaged or tally.too_large else 0

    return run_on_store(url, work)


async def _import(importer: Importer, source: Source, output: Output) -> int:
    started = time.perf_counter()
    try:
        with _progress(BarColumn(), DownloadColumn()) as progress:
            task = progress.add_task("importing", total=source.size, facts="")
            async with aclosing(read_lines(source)) as lines:
                await importer.run(_watched(lines, importer, source, progress, task))
    except (StoreError, asyncio.CancelledError):
        _summarize(importer, time.perf_counter() - started, output)
        output.note(f"Stopped after {importer.tally.lines} lines. Run the command again: no message is stored twice.")
        raise
    _summarize(importer, time.perf_counter() - started, output)
    return PARTLY if importer.tally.bad_lines else 0


async def _watched(
    lines: AsyncIterator[Line], importer: Importer, source: Source, progress: Progress, task: TaskID
) -> AsyncIterator[Line]:
    async for line in lines:
        stored = importer.tally.messages_stored
        elapsed = progress.tasks[task].elapsed or 0
        facts = f"{stored} messages" + (f", {stored / elapsed:.0f}/s" if elapsed else "")
        progress.update(task, completed=source.position, facts=facts)
        yield line


def _summarize(importer: Importer, seconds: float, output: Output) -> None:
    if (more := importer.tally.bad_lines - SHOWN_LINES) > 0:
        say_failure(f"{more} more lines are bad, like those above.", "bad_line", json=output.json)
    summary: dict[str, Any] = msgspec.to_builtins(importer.tally)
    summary["seconds"] = round(seconds, 3)
    summary["messagesPerSecond"] = round(importer.tally.messages_stored / seconds)
    words = {
        "lines": "lines",
        "sessionsCreated": "sessions created",
        "sessionsExisting": "sessions that existed",
        "messagesStored": "messages stored",
        "duplicates": "messages stored before",
        "messagesDropped": "messages dropped",
        "badLines": "bad lines",
        "seconds": "seconds",
        "messagesPerSecond": "messages per second",
    }
    output.answer(summary, facts_table([(shown, summary[name]) for name, shown in words.items()]))


class Exports(msgspec.Struct, rename="camel"):
    """What an export did so far.

    ``damaged``: sessions that could not be read; ``too_large``: those whose line import will not read.
    """

    sessions: int = 0
    messages: int = 0
    damaged: int = 0
    too_large: int = 0


async def _export(manager: SessionManager, file: str, user: str | None, *, json: bool) -> Exports:
    """Write the file, or to standard output, and name on stderr what cannot be read."""
    tally = Exports()
    lines = _counted(export_lines(manager, user), tally, json=json)
    if file == "-":
        async for line in lines:
            await write_to_stdout(line)
        return tally
    with replacing(Path(file)) as target, _progress() as progress:
        task = progress.add_task("exporting", total=None, facts="")
        async for line in lines:
            target.write(line)
            progress.update(task, facts=f"{tally.sessions} sessions, {tally.messages} messages")
    return tally


async def _counted(
    lines: AsyncGenerator[Exported | StoreCorrupt], tally: Exports, *, json: bool
) -> AsyncIterator[bytes]:
    async with aclosing(lines):
        async for exported in lines:
            if isinstance(exported, StoreCorrupt):
                tally.damaged += 1
                report_error(exported, json=json)
            else:
                tally.sessions += 1
                tally.messages += exported.messages
                try:
                    weigh_line(exported.line)
                except LineTooLarge as reason:
                    tally.too_large += 1
                    text = f"Import will not read session {exported.session_id}. {reason} Copy it with migrate instead."
                    say_failure(text, "line_too_large", json=json)
                yield exported.line


def _progress(*columns: BarColumn | DownloadColumn) -> Progress:
    """On stderr, and only on a terminal."""
    fact = TextColumn("{task.fields[facts]}")
    shown = (TextColumn("{task.description}"), *columns, fact, TimeElapsedColumn())
    return Progress(*shown, console=ERR, transient=True, disable=not ERR.is_terminal)
