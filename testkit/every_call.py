"""Every call of the package, made on a store whose data or answers may be anything."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from chat_session import ChatSessionError, Desk, Inspector, SessionManager

MESSAGE = {"id": "m", "from": "user", "text": "x"}


async def _take_turn(manager: SessionManager) -> None:
    async with manager.turn("s") as turn:
        async for _ in turn:
            await turn.reply(["x", {"text": "y", "internal": True}])
            await turn.record("z")


async def _take_turn_alone(manager: SessionManager) -> None:
    async with manager.turn("s", debounce=0.01) as turn:
        await turn.reply("x")


async def _stream(manager: SessionManager) -> None:
    async with manager.turn("s") as turn:
        with suppress(ZeroDivisionError):
            async with turn.stream(keep_partial=True) as reply:
                await reply.write("x")
                raise ZeroDivisionError
        with suppress(ZeroDivisionError):
            async with turn.stream(author="a") as reply:
                await reply.write("x")
                raise ZeroDivisionError
        async with turn.stream(type="t") as reply:
            for _ in range(3):
                await reply.write("x")
                await asyncio.sleep(0.03)


async def _scan(manager: SessionManager) -> None:
    async for _ in Inspector(manager).scan_sessions():
        pass


CALLS: dict[str, Callable[[SessionManager], Coroutine[Any, Any, Any]]] = {
    "create": lambda manager: manager.create_session("u", session_id="s", turns=True),
    "get": lambda manager: manager.get_session("s"),
    "agent": lambda manager: manager.get_session_agent("s"),
    "active": lambda manager: manager.is_session_active("s"),
    "update": lambda manager: manager.update_session("s", {"a": 1}),
    "delete": lambda manager: manager.delete_session("s"),
    "extend": lambda manager: manager.extend_session("s"),
    "append": lambda manager: manager.add_message("s", MESSAGE),
    "history": lambda manager: manager.get_history("s"),
    "window": lambda manager: manager.get_history("s", after=1),
    "get or create": lambda manager: manager.get_or_create_session("s", "u"),
    "fork": lambda manager: manager.fork_session("s", new_id="fork"),
    "assign": lambda manager: manager.assign_session("s", "other"),
    "increment": lambda manager: manager.increment("s", "n"),
    "conditional": lambda manager: manager.add_messages(
        "s", [MESSAGE], expect_seq=1, expect_metadata={"a": 1}, metadata={"b": 1}, state={"user:u": {"a": 1}}
    ),
    "model": lambda manager: manager.get_window("s", tokens=100),
    "retract": lambda manager: manager.retract_message("s", "m"),
    "pop": lambda manager: manager.pop_messages("s", 2),
    "replace": lambda manager: manager.replace_message("s", MESSAGE),
    "replace all": lambda manager: manager.replace_history("s", [MESSAGE]),
    "clear": lambda manager: manager.clear_history("s"),
    "state": lambda manager: manager.get_state("user:u"),
    "update state": lambda manager: manager.update_state("app:a", {"a": 1}),
    "stored": lambda manager: Inspector(manager).get_stored_history("s"),
    "switch": lambda manager: manager.switch_agent("s", "human"),
    "set_ttl": lambda manager: manager.set_session_ttl("s", 5),
    "get_ttl": lambda manager: manager.get_session_ttl("s"),
    "list": lambda manager: manager.list_user_sessions("u", limit=3),
    "list all": lambda manager: Inspector(manager).list_sessions(limit=3),
    "count": lambda manager: manager.get_active_sessions_count(),
    "sweep": lambda manager: manager.cleanup_expired_sessions(),
    "scan": _scan,
    "diagnose": lambda manager: Inspector(manager).diagnose(repair=True),
    "erase": lambda manager: manager.erase_user("u"),
    "create again": lambda manager: manager.create_session("u", session_id="s"),
    "check epoch": lambda manager: manager.check_epoch("s", 0),
    "request": lambda manager: Desk(manager).request_human("s", reason="r", priority=1, team="t", say="x"),
    "waiting": lambda manager: Desk(manager).waiting(limit=3),
    "waiting in a team": lambda manager: Desk(manager).waiting(team="t", limit=3),
    "claim": lambda manager: Desk(manager).claim_next("o"),
    "claim in a team": lambda manager: Desk(manager).claim_next("p", teams=["t"]),
    "take over": lambda manager: Desk(manager).take_over("s", "o"),
    "answer": lambda manager: Desk(manager).answer("s", "p", {"id": "m", "text": "x"}),
    "note": lambda manager: Desk(manager).note("s", "o", "x"),
    "transfer": lambda manager: Desk(manager).transfer("s", "p", to="o"),
    "transfer to a team": lambda manager: Desk(manager).transfer("s", "o", team="t"),
    "decline": lambda manager: Desk(manager).decline("s", "o"),
    "seen": lambda manager: Desk(manager).operator_seen("o", capacity=3),
    "operators": lambda manager: Desk(manager).operators(),
    "assigned": lambda manager: Desk(manager).assigned("o"),
    "assigned to anyone": lambda manager: Desk(manager).assigned(),
    "stats": lambda manager: Desk(manager).stats(),
    "sweep again": lambda manager: manager.cleanup_expired_sessions(),
    "take a turn that a person has": _take_turn,
    "hand back": lambda manager: Desk(manager).hand_back("s", "o", note="n", say="x", resolved=True),
    "switch from the desk": lambda manager: manager.switch_agent("s", "human"),
    "switch to the AI": lambda manager: manager.switch_agent("s", "ai"),
    "ask": lambda manager: manager.add_message("s", {"from": "user", "text": "x"}),
    "pending turns": lambda manager: manager.pending_turns(3),
    "take a turn": _take_turn,
    "take a turn again": _take_turn_alone,
    "stream": _stream,
    "stream again": _stream,
    "stop a turn": lambda manager: manager.stop_turn("s"),
    "pending turns again": lambda manager: manager.pending_turns(3),
    "switch from the desk again": lambda manager: manager.switch_agent("s", "human"),
    "adopt": lambda manager: manager.cleanup_expired_sessions(),
}


async def make_every_call(url: str, **options: Any) -> None:
    """Fails if a call raises an error that is not of the package, or does not end within 10 s."""
    options = {"store_timeout": 2.0, "redis_max_retries": 0} | options
    async with SessionManager.from_url(url, **options) as manager:
        for name, call in CALLS.items():
            try:
                async with asyncio.timeout(10):
                    await call(manager)
            except ChatSessionError:
                pass
            except TimeoutError:
                raise AssertionError(f"{name} did not end") from None
