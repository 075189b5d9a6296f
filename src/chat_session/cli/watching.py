"""The command watch: what happens in a session, as it happens."""

import asyncio
import errno
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Annotated

import typer

from chat_session.cli.event_lines import event_head, event_line, in_one_line
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, SessionId, Url
from chat_session.cli.output import OUT, visible, write_json
from chat_session.clock import now
from chat_session.events import Event, ReplyDelta
from chat_session.manager import SessionManager


def watch(
    session: SessionId,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind this event: its cursor, which --json shows.")
    ] = None,
    as_customer: Annotated[
        bool, typer.Option("--as-customer", help="Only what the customer may be told: nothing internal.")
    ] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Show what happens in a session, as it happens, one line for each event.

    It goes on until Ctrl-C, and ends with exit code 0 when the session is deleted or expires. While the store is away
    it waits. With --json each event is one JSON document on a line of its own.
    """
    shown = _Json() if json else _Words(on_terminal=sys.stdout.isatty() and OUT.is_terminal)

    async def work(manager: SessionManager) -> int:
        feed = manager.watch(session, after=after, include_internal=not as_customer)
        try:
            async with aclosing(feed), _ended_with_its_reader():
                async for event in feed:
                    shown.show(event)
        finally:
            shown.end()
        return 0

    return run_on_store(url, work)


class _Json:
    def show(self, event: Event) -> None:
        write_json(event.to_dict(), indent=0)

    def end(self) -> None:
        pass


class _Words:
    """On a terminal the text of a reply grows on one line, until another event comes."""

    def __init__(self, *, on_terminal: bool) -> None:
        self._on_terminal = on_terminal
        self._is_growing = False

    def show(self, event: Event) -> None:
        if not (self._on_terminal and isinstance(event, ReplyDelta)):
            self.end()
            OUT.print(visible(event_line(event, now())), soft_wrap=True)
            return
        if not self._is_growing:
            OUT.print(visible(f"{event_head(event, now())}  "), soft_wrap=True, end="")
            self._is_growing = True
        OUT.print(visible(in_one_line(event.text)), soft_wrap=True, end="")

    def end(self) -> None:
        if self._is_growing:
            self._is_growing = False
            OUT.print()


@asynccontextmanager
async def _ended_with_its_reader() -> AsyncIterator[None]:
    """Raises BrokenPipeError when nobody reads the output any more, also while there is nothing to write."""
    output, task = _find_pipe(), asyncio.current_task()
    if output is None or task is None:
        yield
        return
    loop, is_unread = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        loop.remove_reader(output)
        is_unread.set()
        task.cancel()

    with suppress(PermissionError, NotImplementedError):  # Windows
        loop.add_reader(output, end)  # the end of a pipe that is written to is readable once the other one is closed
    try:
        yield
    except asyncio.CancelledError:
        if is_unread.is_set() and not task.uncancel():
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
        raise
    finally:
        with suppress(NotImplementedError):
            loop.remove_reader(output)


def _find_pipe() -> int | None:
    """Standard output, if it is a pipe."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream of another kind, as in a test
        return None
    return output if stat.S_ISFIFO(os.fstat(output).st_mode) else None
