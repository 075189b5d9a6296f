"""The lists and figures of the desk, read from its own slot."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from chat_session.clock import EPOCH
from chat_session.desk_figures import DAY, HOUR, Counts, figures_of
from chat_session.desk_options import DEFAULT_CAPACITY
from chat_session.desk_results import DeskEntry, DeskPage, DeskStats, Operator
from chat_session.desk_status import DeskFacts
from chat_session.handoff import PRIORITY_STEP
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.redis.desk.entries import MAX_DIGITS, decode_entry
from chat_session.storage.redis.keys import DeskKeys
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import optional_texts, texts, whole_score
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import desk as scripts
from chat_session.storage.redis.scripts.index import list_entries

BATCH = 500  # seats per round trip
Place = tuple[str, str]  # of an entry in the queue: its score with 16 digits, and its session

_START: Place = ("", "")
LATEST = 253_402_300_799_000  # milliseconds: the last second of the year 9999


class DeskLists:
    """Reads them. Only entries are read, no sessions."""

    def __init__(self, executor: CommandExecutor, keys: DeskKeys) -> None:
        self._executor = executor
        self._keys = keys

    async def list_waiting(self, team: str | None, limit: int, cursor: str | None) -> DeskPage:
        score, session_id = _START if cursor is None else read_cursor("queue", cursor, 2)
        places = await self._read_places(team, limit, (score, session_id))
        entries = await self._read_entries([session_id for _, session_id in places])
        page = [
            DeskEntry.of(name, facts.status)
            for (_, name), facts in zip(places, entries, strict=True)
            if facts is not None
        ]
        return DeskPage(page, write_cursor("queue", *places[-1]) if len(places) == limit else None)

    async def _read_places(self, team: str | None, limit: int, after: Place) -> list[Place]:
        """The entries behind a place in the queue of all, or of one team."""
        if team is None:
            score, session_id = after
            call = list_entries(
                self._keys.queue, direction="ascending", score=score.lstrip("0"), member=session_id, limit=limit
            )
            scored = await self._executor.run("list_waiting", call)
            return [(f"{whole_score(score):016d}", member.decode(errors="replace")) for member, score in scored]
        begin = f"[{team}\n" if after == _START else f"({team}\n{after[0]}\n{after[1]}"
        words = (b"ZRANGEBYLEX", self._keys.teams, begin, f"({team}\n".encode() + b"\xff", b"LIMIT", 0, limit)
        members = await self._executor.run("list_waiting", PlainCommand(words, texts))
        behind = len(f"{team}\n".encode())
        parts = (member[behind:].decode(errors="replace").partition("\n") for member in members)
        return [(place, session_id) for place, _, session_id in parts]

    async def _read_entries(self, session_ids: list[str]) -> list[DeskFacts | None]:
        """None for one that has just left the desk."""
        if not session_ids:
            return []
        words: tuple[bytes | str, ...] = (b"HMGET", self._keys.entries, *session_ids)
        command = PlainCommand(words, partial(optional_texts, count=len(session_ids)))
        found = await self._executor.run("list_waiting", command)
        facts = [None if entry is None else decode_entry(entry) for entry in found]
        return [each if each is not None and each.state == "waiting" else None for each in facts]

    async def list_assigned(self, operator_id: str | None) -> list[DeskEntry]:
        seats = await self.read_seats("list_assigned", operator_id)
        taken = [
            (operator, facts.since or 0, session_id, facts)
            for operator, session_id, facts in seats
            if facts is not None and facts.state == "assigned" and facts.operator == operator
        ]
        return [
            DeskEntry.of(session_id, facts.status)
            for _, _, session_id, facts in sorted(taken, key=lambda each: each[:3])
        ]

    async def read_seats(self, name: str, operator_id: str | None) -> list[tuple[str, str, DeskFacts | None]]:
        """Operator, session and entry of each seat; also of those that a claim has reserved."""
        lowest = b"-" if operator_id is None else f"[{operator_id}\n".encode()
        highest = b"+" if operator_id is None else f"({operator_id}\n".encode() + b"\xff"
        seats: list[tuple[str, str, DeskFacts | None]] = []
        while True:
            call = scripts.list_seats(self._keys, lowest=lowest, highest=highest, limit=BATCH)
            found = await self._executor.run(name, call)
            for member, entry in found:
                operator, _, session_id = member.decode(errors="replace").partition("\n")
                seats.append((operator, session_id, None if entry is None else decode_entry(entry)))
            if len(found) < BATCH:
                return seats
            lowest = b"(" + found[-1][0]

    async def list_operators(self) -> list[Operator]:
        found = await self._executor.run("list_operators", scripts.list_operators(self._keys))
        return sorted(
            (make_operator(name.decode(errors="replace"), each) for name, each in found),
            key=lambda each: each.operator_id,
        )

    async def read_stats(self) -> DeskStats:
        read = await self._executor.run("read_stats", scripts.read_counts(self._keys, step=PRIORITY_STEP))
        counts = decode_counts(read.counted.items())
        return DeskStats(
            waiting={team.decode(errors="replace"): count for team, count in read.waiting},
            longest_wait=max(read.longest, 0) / 1_000_000,
            assigned=read.assigned,
            hour=figures_of(counts, read.now, HOUR),
            day=figures_of(counts, read.now, DAY),
        )


def make_operator(operator_id: str, presence: scripts.Presence) -> Operator:
    return Operator(
        operator_id=operator_id,
        available=presence.available,
        capacity=DEFAULT_CAPACITY if presence.capacity < 0 else presence.capacity,
        assigned=presence.assigned,
        seen_at=_from_ms(presence.seen) if presence.seen else None,
        present_until=_from_ms(presence.deadline),
    )


def decode_counts(stored: Iterable[tuple[bytes, bytes]]) -> Counts:
    counts: dict[tuple[int, str], int] = {}
    for field, count in stored:
        bucket, _, name = field.partition(b":")
        if _is_whole(bucket) and _is_whole(count):
            counts[int(bucket), name.decode(errors="replace")] = int(count)
    return counts


def _is_whole(digits: bytes) -> bool:
    return digits.isdigit() and len(digits) <= MAX_DIGITS


def _from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=min(ms, LATEST))
