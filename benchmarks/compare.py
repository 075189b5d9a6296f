"""The peers side by side: each operation in alternating rounds, every peer on a full history."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.progress import Progress

from benchmarks.machine import find_version
from benchmarks.measure import Cell, Load, Pace, deal, settle_memory, take_sample
from benchmarks.messages import next_number
from benchmarks.operations import OPERATIONS, SESSIONS, Operation
from benchmarks.peers import find_peers
from benchmarks.peers.protocol import Peer, check, user_name
from benchmarks.server import Server

PER_USER = 5
NAMES = tuple(f"s{i:06d}" for i in range(SESSIONS))

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
                    await peer.fill(NAMES)
                    await check(peer, NAMES[0])
                except Exception as error:
                    _give_up(peers, peer, skipped, error)
                progress.advance(filling)
            settle_memory()
            measuring = progress.add_task("measuring", total=len(OPERATIONS) * (pace.rounds + 1) * len(peers))
            for operation in OPERATIONS:
                progress.update(measuring, description=operation.name)
                if operation.method == "list_user":
                    await _populate(peers, listed)
                table[operation.name] = await _measure(
                    operation, peers, pace, lambda: progress.advance(measuring)
                )
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
    cells = {peer.name: Cell() for peer in peers}
    lengths: dict[str, list[int]] = {}
    taking = []
    for peer in peers:
        cell = cells[peer.name]
        cell.missing = peer.cannot.get(operation.method, "")
        cell.note = peer.remarks.get(operation.method) or peer.remarks.get(operation.subject, "")
        if not cell.missing:
            taking.append(peer)
    for turn in range(-1, pace.rounds):  # the first is not counted: connections are opened in it
        shift = turn % max(1, len(taking))
        for peer in (*taking[shift:], *taking[:shift]):
            cell = cells[peer.name]
            if cell.missing or (cell.cut and len(cell.samples) >= 3):
                continue
            grows = operation.writes and not peer.bounded
            if grows:
                peer.reset(NAMES[: operation.sessions])
            load = Load(getattr(peer, operation.method), _targets(operation), peer.blocking)
            sampled = Cell()
            try:
                await take_sample(load, pace if turn >= 0 else pace._replace(window=pace.window / 4), sampled)
            except Exception as error:
                cell.samples.clear()
                cell.missing = f"failed: {error!r}"[:120]
                continue
            finally:
                advance()
            if sampled.cut:  # what was cancelled may have left connections behind
                await peer.close()
                await peer.open()
            if grows:
                lengths.setdefault(peer.name, []).append(peer.length(NAMES[0]))
            if turn >= 0:
                cell.samples += sampled.samples
                cell.operations += sampled.operations
                cell.cut = cell.cut or sampled.cut
                cell.missing = sampled.missing
    for name, cell in cells.items():
        if name in lengths and "grows" in cell.note:
            cell.note += f" (here from 100 to {max(lengths[name])} messages)"
        if cell.cut:
            cell.note = f"{cell.note}; some calls were cancelled after {pace.window + pace.patience:.1f} s".lstrip("; ")
    return cells


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
