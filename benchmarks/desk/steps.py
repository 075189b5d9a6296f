"""What each step of the desk costs, and what an append costs in a session that the desk has."""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from chat_session import Desk, SessionManager
from testkit.servers import Server

ROUNDS = 5


async def time_steps(server: Server, count: int) -> dict[str, dict[str, float]]:
    """For each step the median wall time of a call by one task, and the server's own time, in microseconds."""
    async with SessionManager.from_url(server.unix_url()) as manager:
        desk = Desk(manager)
        for number in range(count):
            await manager.create_session("user", session_id=f"s{number}")
        steps: dict[str, Callable[[str], Awaitable[Any]]] = {
            "request_human": lambda session_id: desk.request_human(session_id, say="One moment, please."),
            "claim_next": lambda _: desk.claim_next("anna"),
            "answer": lambda session_id: desk.answer(session_id, "anna", "Good morning."),
            "note": lambda session_id: desk.note(session_id, "anna", "A regular customer."),
            "transfer": lambda session_id: desk.transfer(session_id, "anna", to="bob"),
            "decline": lambda session_id: desk.decline(session_id, "bob"),
            "take_over": lambda session_id: desk.take_over(session_id, "anna"),
            "hand_back": lambda session_id: desk.hand_back(session_id, "anna", note="Done."),
        }
        await desk.operator_seen("anna", capacity=count)
        found = {}
        with server.client() as raw:
            for name, step in steps.items():
                raw.config_resetstat()
                taken = []
                for number in range(count):
                    started = time.perf_counter()
                    await step(f"s{number}")
                    taken.append((time.perf_counter() - started) * 1e6)
                spent = raw.info("commandstats")
                scripts = sum(spent[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in spent)
                found[name] = {"wall_us": statistics.median(taken), "server_us": scripts / count}
    return found


async def time_appends(server: Server, count: int) -> dict[str, float]:
    """The server's own time of an append: in a session that the desk never had, and in one that waits. Microseconds."""
    found: dict[str, list[float]] = {"never handled": [], "waiting": []}
    async with SessionManager.from_url(server.unix_url()) as manager:
        for name in found:
            await manager.create_session("user", session_id=name.replace(" ", "-"))
        await Desk(manager).request_human("waiting")
        with server.client() as raw:
            for _ in range(ROUNDS):
                for name, samples in found.items():
                    raw.config_resetstat()
                    for _ in range(count // ROUNDS):
                        await manager.add_message(name.replace(" ", "-"), {"from": "user", "text": "Is anybody there?"})
                    samples.append(raw.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])
    return {name: statistics.median(samples) for name, samples in found.items()}
