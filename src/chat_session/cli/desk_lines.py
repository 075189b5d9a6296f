"""The desk as plain lines, for a pipe or a file: one thing a line, whose kind is its first word."""

from collections.abc import Iterator

from chat_session.cli.desk_view import DeskView, figure_lines, in_one_line, is_away, since, summary
from chat_session.desk_results import DeskEntry, Operator


def desk_lines(view: DeskView) -> Iterator[str]:
    """Without their ends. What people wrote is in them as it is, but for line breaks."""
    return map(in_one_line, _lines(view))


def _lines(view: DeskView) -> Iterator[str]:
    yield f"desk: {summary(view.stats)}"
    for entry in view.waiting:
        yield "waiting: " + ", ".join(_entry_words(entry, view))
    if rest := view.queue_length - len(view.waiting):
        yield f"waiting: {rest} more"
    for operator in view.operators:
        yield "operator: " + ", ".join(_operator_words(operator, view))
    yield from figure_lines(view.stats)


def _entry_words(entry: DeskEntry, view: DeskView) -> Iterator[str]:
    yield f"session {entry.session_id}"
    if entry.team is not None:
        yield f"team {entry.team}"
    yield f"priority {entry.priority}"
    yield f"for {since(entry.waiting_since, view.at) or 'an unknown time'}"
    if entry.reason is not None:
        yield f"reason: {entry.reason}"


def _operator_words(operator: Operator, view: DeskView) -> Iterator[str]:
    yield operator.operator_id
    if is_away(operator, view.at):
        yield "away"
    else:
        yield "available" if operator.available else "not available"
    yield f"{operator.assigned} of {operator.capacity} sessions"
    seen = since(operator.seen_at, view.at)
    yield f"last sign {seen} ago" if seen else "no sign yet"
