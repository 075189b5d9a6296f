"""Values of the package as tables for people. Every cell is Text: nothing in it is obeyed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from chat_session.cli.output import visible
from chat_session.desk_status import DeskStatus
from chat_session.message import Message
from chat_session.session import Session

CONTENT_SHOWN = 60  # characters of a content
_SENDER_STYLES = {"user": "green", "assistant": "cyan", "operator": "magenta"}


def make_table(*columns: str, title: str | None = None) -> Table:
    """Columns that fold what is too long: an id that is cut off cannot be copied."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def facts_table(facts: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, one a row. A string is shown as it is, everything else as JSON."""
    table = make_table()
    table.show_header = False
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(visible(name), visible(value if isinstance(value, str) else msgspec.json.encode(value).decode()))
    return table


def session_table(session: Session, seconds_left: int) -> Table:
    facts: list[tuple[str, Any]] = [
        ("session", session.session_id),
        ("user", session.user_id),
        ("created", _moment(session.created_at)),
        ("last active", _moment(session.last_active_at)),
        ("agent", _agent(session)),
        *desk_facts(session.desk),
        ("messages", f"{session.message_count}"),
        ("ttl", duration(session.ttl)),
        ("left", duration(None if seconds_left < 0 else seconds_left)),
    ]
    if session.max_history is not None:
        facts.append(("keeps", f"{session.max_history} messages"))
    if session.revision:
        facts.append(("revision", f"{session.revision}"))
    return facts_table(facts + [(f"metadata {name}", value) for name, value in session.metadata.items()])


def handed_table(session: Session) -> Table:
    """Who has a session after a step of the desk."""
    return facts_table([("session", session.session_id), ("agent", _agent(session)), *desk_facts(session.desk)])


def desk_facts(desk: DeskStatus) -> list[tuple[str, Any]]:
    """Nothing, if no person has it and it does not wait for one."""
    if desk.state == "open":
        return []
    who = "" if desk.state == "waiting" else f" to {desk.operator_id or 'a person'}"
    since = "" if desk.since is None else f" since {_moment(desk.since)}"
    facts: list[tuple[str, Any]] = [("desk", f"{desk.state}{who}{since}")]
    if desk.priority:
        facts.append(("priority", f"{desk.priority}"))
    return facts + [(name, value) for name, value in (("team", desk.team), ("reason", desk.reason)) if value]


def sessions_table(sessions: Sequence[Session], user: str | None = None) -> Table:
    """Of one user, or with each session's. 80 columns hold one user's with a random id unfolded.

    Who answers is "waiting" for one that waits for a person.
    """
    table = make_table("session", *(() if user else ("user",)), "last active", "agent", "messages")
    for session in sessions:
        table.add_row(
            visible(session.session_id),
            *(() if user else (visible(session.user_id),)),
            Text(f"{session.last_active_at:%Y-%m-%d %H:%MZ}"),
            visible(session.current_agent if session.desk.state != "waiting" else "waiting"),
            Text(str(session.message_count), justify="right"),
        )
    return table


def history_table(messages: Sequence[Message]) -> Table:
    table = make_table("seq", "time", "from", "text")
    for message in messages:
        table.add_row(
            Text(str(message.seq), justify="right"),
            Text("" if message.timestamp is None else _moment(message.timestamp)),
            _speaker(message),
            _said(message),
        )
    return table


def _speaker(message: Message) -> Text:
    shown = visible(message.sender, _SENDER_STYLES.get(message.sender, ""))
    return shown if message.author is None else shown.append_text(visible(f" {message.author}", "dim"))


def _said(message: Message) -> Text:
    """Marks, the text, and the beginning of the content."""
    marks = [] if message.type is None else [message.type]
    if message.internal:
        marks.append("internal")
    marks += [
        f"{name} {', '.join(ids)}" for name, ids in (("calls", message.calls), ("answers", message.answers)) if ids
    ]
    said = visible(f"({'; '.join(marks)}) " if marks else "", "dim italic").append_text(visible(message.text))
    if "raw" in message.extra and not message.text:
        said.append_text(visible(str(message.extra["raw"]), "dim"))
    if message.content_json is not None:
        name = "content" if message.format is None else message.format
        said.append_text(visible(f"{' ' if message.text else ''}[{name}: {_shorten(message.content_json)}]", "dim"))
    return said


def _shorten(content: bytes) -> str:
    text = content[: 4 * CONTENT_SHOWN].decode(errors="ignore")
    return text if len(content) <= CONTENT_SHOWN else f"{text[:CONTENT_SHOWN]}… {len(content):,} bytes"


def duration(seconds: int | None) -> str:
    return "never expires" if seconds is None else f"{seconds} s"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _agent(session: Session) -> str:
    return f"{session.current_agent} (epoch {session.agent_epoch})"
