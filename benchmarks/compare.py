"""The peers side by side: each operation in alternating rounds, every peer on a full history."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from rich.progress import Progress

from benchmarks.machine import find_version
from benchmarks.measure import Cell, Load, Pace, deal, settle_memory, take_sample
from benchmarks.messages import next_number
from benchmarks.operations import OPERATIONS, SESSIONS, Operation
from benchmarks.peers import find_peers
from benchmarks.peers.protocol import Peer, check, user_name
from testkit.servers import Server

PER_USER = 5
SLOW_ROUNDS = 3  # enough for a peer that does not finish within the window
NAMES = tuple(f"s{i:06d}" for i in range(SESSIONS))
CHECKED = "checked"  # a session that is not measured, because the check changes it

Table = dict[str, dict[str, Cell]]  # operation, peer


async def compare(server: Server, pace: Pace, listed: int) -> dict[str, Any]:
    """Measure all; ``listed`` is how many sessions there are when a user's are listed."""
    peers, skipped = await _open_peers(server)
    table: Table = {}
    try:
        with Progress(transient=True) as progress:
            filling = progress.add_task("filling histories", total=len(peers))
            for peer in tuple(peers):
                try:
                    await peer.fill((*NAMES, CHECKED))
                    await check(peer, CHECKED)
                except Exception as error:
                    _give_up(peers, peer, skipped, error)
                progress.advance(filling)
            settle_memory()
            measuring = progress.add_task("measuring", total=len(OPERATIONS) * pace.rounds * len(peers))
            for operation in OPERATIONS:
                progress.update(measuring, description=operation.name)
                if operation.method == "list_user":
                    await _populate(peers, listed)
                table[operation.name] = await _measure(operation, peers, pace, lambda: progress.advance(measuring))
    finally:
        for peer in peers:
            await peer.close()
    return {
        "peers": {peer.name: {"package": peer.package, "version": find_version(peer.package)} for peer in peers},
        "skipped": skipped,
        "listed_sessions": listed,
        "table": table,
    }


async def _open_peers(server: Server) -> tuple[list[Peer], dict[str, str]]:
    peers: list[Peer] = []
    skipped: dict[str, str] = {}
    for database, (module, found) in enumerate(find_peers(), 1):
        if isinstance(found, ImportError):
            skipped[module] = f"not installed ({found.name or found})"
            continue
        peer = found(server, database)
        try:
            await peer.open()
        except Exception as error:
            skipped[peer.name] = repr(error)[:200]
        else:
            peers.append(peer)
    for name, why in skipped.items():
        print(f"skipped {name}: {why}", file=sys.stderr)
    if not peers or peers[0].name != "chat-session":
        raise SystemExit("this package itself does not run here: there is nothing to compare with")
    return peers, skipped


async def _populate(peers: Sequence[Peer], sessions: int) -> None:
    for peer in peers:
        if "list_user" not in peer.cannot:
            peer.raw.flushdb()
            await peer.populate(sessions, PER_USER)
    settle_memory()


async def _measure(operation: Operation, peers: Sequence[Peer], pace: Pace, advance: Any) -> dict[str, Cell]:
    """Alternate between the peers, each round beginning with another one."""
    cells = {peer.name: _open_cell(operation, peer) for peer in peers}
    taking = [peer for peer in peers if not cells[peer.name].missing]
    first = pace._replace(window=pace.window / 4)
    for peer in taking:  # not counted: connections are opened in it
        _restore(operation, peer)
        if operation.steady:
            await _call_on_each(operation, peer)
        await _sample(operation, peer, first, Cell())
    for turn in range(pace.rounds):
        shift = turn % max(1, len(taking))
        for peer in (*taking[shift:], *taking[:shift]):
            cell = cells[peer.name]
            slow = cell.cut or (cell.median or 0) > pace.window
            if not cell.missing and not (slow and len(cell.samples) >= SLOW_ROUNDS):
                if operation.sessions == 1:  # a thousand of them grow by a few messages only
                    _restore(operation, peer)
                await _sample(operation, peer, pace, cell)
            advance()
    return cells


def _open_cell(operation: Operation, peer: Peer) -> Cell:
    note = peer.remarks.get(operation.method) or peer.remarks.get(operation.subject, "")
    return Cell(note=note, missing=peer.cannot.get(operation.method, ""))


async def _sample(operation: Operation, peer: Peer, pace: Pace, cell: Cell) -> None:
    """Add a sample to the cell, or say in it why there is none."""
    try:
        load = Load(getattr(peer, operation.method), _targets(operation), peer.blocking)
        cut = await take_sample(load, pace, cell)
    except Exception as error:  # another's code may raise anything
        cell.samples.clear()
        cell.missing = f"failed: {error!r}"[:120]
        cut = True
    if cut:  # what was cancelled may have left its connection in the middle of an answer
        await peer.close()
        await peer.open()
    if _grows(operation, peer):
        cell.longest = max(cell.longest or 0, peer.length(NAMES[0]))


async def _call_on_each(operation: Operation, peer: Peer) -> None:
    for name in NAMES[: operation.sessions]:
        with suppress(Exception):  # it fails again in the samples, where it is noted
            done = getattr(peer, operation.method)(name)
            if not peer.blocking:
                await done


def _grows(operation: Operation, peer: Peer) -> bool:
    return operation.writes and not peer.bounded


def _restore(operation: Operation, peer: Peer) -> None:
    """Begin with full histories, also where the operation before let them grow."""
    if _grows(operation, peer) or (operation.method.startswith("read") and not peer.bounded):
        peer.reset(NAMES[: operation.sessions])


def _targets(operation: Operation) -> list[Iterator[str]]:
    if operation.method == "create":
        fresh = (f"fresh-{next_number()}" for _ in itertools.count())
        return [fresh] * operation.tasks
    if operation.method == "list_user":
        return deal([user_name(i * 7) for i in range(100)], operation.tasks)
    return deal(NAMES[: operation.sessions], operation.tasks)


def _give_up(peers: list[Peer], peer: Peer, skipped: dict[str, str], error: Exception) -> None:
    peers.remove(peer)
    skipped[peer.name] = f"did not work: {error!r}"[:200]
    print(f"skipped {peer.name}: {skipped[peer.name]}", file=sys.stderr)
