"""The command cleanup: once, or until it is stopped."""

import asyncio
from signal import SIGTERM
from typing import Annotated, Any

import typer

from chat_session.cleanup import SessionCleanup
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, Url
from chat_session.cli.output import Output, visible
from chat_session.clock import now, to_iso
from chat_session.manager import SessionManager
from chat_session.telemetry.hooks import Hooks

ENDED_BY_SIGTERM = 128 + SIGTERM


def cleanup(
    every: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Run now and then again, until SIGINT or SIGTERM.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Remove what dead sessions left in the indexes.

    With --every and --json each run prints one line, a JSON document of its own. SIGTERM ends it with
    exit code 0.
    """
    output = Output(json)
    if every is None:
        return run_on_store(url, lambda manager: _clean_once(manager, output), create=True)
    runs = _Runs()
    ended = run_on_store(url, lambda manager: _clean_on(manager, every, runs, output), [runs], create=True)
    return 0 if ended == ENDED_BY_SIGTERM else ended


async def _clean_once(manager: SessionManager, output: Output) -> int:
    result = await manager.cleanup_expired_sessions()
    output.answer(result.to_dict(), visible(f"{result.cleaned_count} dead sessions removed"))
    return 0


async def _clean_on(manager: SessionManager, every: float, runs: "_Runs", output: Output) -> int:
    """The first run is at once, and its error ends the command; later errors are shown, and the next run comes."""
    async with SessionCleanup(manager, interval=every) as cleaning:
        await cleaning.cleanup()
        while True:
            run = await runs.ended.get()
            shown = f"{run['at']}  {run['cleanedCount']} dead sessions removed in {run['seconds']} s ({run['outcome']})"
            output.answer(run, visible(shown), compact=True)


class _Runs(Hooks):
    """Collects the runs. The command prints them, not the hook: if its output is closed, the command must end."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def cleaned(self, removed: int, seconds: float, outcome: str) -> None:
        at = to_iso(now())
        self.ended.put_nowait({"at": at, "outcome": outcome, "cleanedCount": removed, "seconds": round(seconds, 3)})
