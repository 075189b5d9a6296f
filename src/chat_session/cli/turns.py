"""The commands about turns: pending, stop-turn."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table

from chat_session.cli.desk_view import in_one_line, since
from chat_session.cli.failures import PARTLY, report
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, SessionId, Url
from chat_session.cli.output import OUT, Output, visible
from chat_session.cli.tables import make_table
from chat_session.clock import now, to_iso
from chat_session.errors import StoreCorrupt
from chat_session.manager import SessionManager
from chat_session.message import Message

LOOKED_AT = 20  # messages among which the customer's are looked for
SHOWN = 60  # characters of a text


class PendingSession(NamedTuple):
    """A session that waits for a worker. ``since``: when the first message without an answer was sent.

    ``since`` and ``text`` are None where no customer message is among the newest messages.
    """

    session_id: str
    user_id: str
    since: datetime | None
    text: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "sessionId": self.session_id,
            "userId": self.user_id,
            "since": None if self.since is None else to_iso(self.since),
            "text": self.text,
        }


def pending(
    limit: Annotated[int, typer.Option(metavar="N", help="The first N sessions.")] = 100,
    url: Url = None,
    json: Json = False,
) -> int:
    """List the sessions that wait for a worker, the one that has waited longest first.

    They were created with turns=True or by the setting TURNS, the AI has them, nobody has answered the customer's
    last message, and no worker has the turn. Off a terminal it is one plain line for each.

    With --json: `[{"sessionId": …, "userId": …, "since": …, "text": …}, …]`; the text is the customer's last one.
    """
    on_terminal = sys.stdout.isatty() and OUT.is_terminal

    async def work(manager: SessionManager) -> int:
        found: list[PendingSession] = []
        damaged: list[StoreCorrupt] = []
        for session_id in await manager.pending_turns(limit):
            try:
                one = await _read_pending(manager, session_id)
            except StoreCorrupt as error:
                damaged.append(error)
            else:
                found += [one] if one else []
        if json:
            Output(json).answer([each.to_dict() for each in found], "")
        elif not found:
            OUT.print(visible("No session waits for a worker."))
        elif on_terminal:
            OUT.print(_pending_table(found, now()))
        else:
            for each in found:
                OUT.print(visible(_in_words(each, now())), soft_wrap=True)
        for damage in damaged:
            report(damage, json=json)
        return PARTLY if damaged else 0

    return run_on_store(url, work)


def stop_turn(session: SessionId, url: Url = None, json: Json = False) -> int:
    """End the turn of the worker that answers a session; what it would still write is refused.

    The customer's message waits for a worker again if nothing of the reply was stored. Exit code 1 if no worker had
    the turn.
    """

    async def work(manager: SessionManager) -> int:
        stopped = await manager.stop_turn(session)
        said = "the turn was stopped" if stopped.success else "no worker has the turn"
        Output(json).answer({"sessionId": session, **stopped.to_dict()}, visible(f"session {session}: {said}"))
        return 0 if stopped.success else PARTLY

    return run_on_store(url, work)


async def _read_pending(manager: SessionManager, session_id: str) -> PendingSession | None:
    """None if the session is gone meanwhile."""
    session = await manager.get_session(session_id)
    if session is None:
        return None
    messages = await manager.get_history(session_id, LOOKED_AT)
    waiting = _find_waiting(messages)
    first = waiting[0].timestamp if waiting else None
    return PendingSession(session_id, session.user_id, first, waiting[-1].text if waiting else None)


def _find_waiting(messages: Sequence[Message]) -> list[Message]:
    """The customer's messages since the last answer; at least the newest one, if it is there."""
    found: list[Message] = []
    for message in reversed(messages):
        if message.sender == "user":
            found.insert(0, message)
        elif found and message.sender in ("assistant", "operator"):
            break
    return found


def _pending_table(found: Sequence[PendingSession], at: datetime) -> Table:
    table = make_table("session", "user", "for", "text")
    for each in found:
        text = "" if each.text is None else _shorten(each.text)
        table.add_row(visible(each.session_id), visible(each.user_id), since(each.since, at), visible(text))
    return table


def _in_words(each: PendingSession, at: datetime) -> str:
    words = [f"session {each.session_id}", f"user {each.user_id}", f"for {since(each.since, at) or 'an unknown time'}"]
    if each.text is not None:
        words.append(f"text: {each.text}")
    return in_one_line("pending: " + ", ".join(words))


def _shorten(text: str) -> str:
    line = in_one_line(text)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
