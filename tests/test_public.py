"""What can be imported from chat_session, and how it type-checks."""

import subprocess
import sys
from pathlib import Path

import chat_session
from chat_session import desk_results, errors

CLIENTS = """
from redis.asyncio import Redis, RedisCluster
from chat_session import Agent, Message, Sender, Session, SessionManager
from chat_session import Desk, DeskPage, DeskStats, DeskStatus, Operator, Ticket

sender: Sender = "assistant"
agent: Agent = "human"

async def use() -> None:
    SessionManager(RedisCluster(host="h", port=1))
    SessionManager(Redis(host="h"))
    Message(sender=sender, text="x")

async def answer(desk: Desk, session: Session) -> None:
    status: DeskStatus = session.desk
    if status.state == "waiting":
        ticket: Ticket = await desk.request_human(session.session_id, priority=9, team=status.team, say="soon")
        next_one: Session | None = await desk.claim_next("anna", teams=("billing",))
    await desk.take_over("s", "anna", expect="waiting")
    await desk.take_over("s", "anna", expect=session.agent_epoch)
    await desk.answer("s", "anna", "hello")
    await desk.answer("s", "anna", {"text": "hello"}, polite=True)
    page: DeskPage = await desk.waiting()
    shown: list[str] = [entry.session_id for entry in page]
    present: list[Operator] = await desk.operators()
    stats: DeskStats = await desk.stats()
    median: float | None = stats.hour.wait_median
"""


def test_clients_of_redis_py_and_our_names_type_check(tmp_path: Path) -> None:
    file = tmp_path / "use.py"
    file.write_text(CLIENTS)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout


def test_every_error_and_what_types_are_named_with_are_exported() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised <= set(vars(chat_session))
    assert {"Agent", "Sender", "ChatSessionError", "Message", "Session", "SessionPage"} <= set(vars(chat_session))
    here = desk_results.__name__
    results = {name for name, value in vars(desk_results).items() if getattr(value, "__module__", "") == here}
    public = {name for name in results if not name.startswith("_")}
    assert public | {"Desk", "DeskStatus"} <= set(vars(chat_session))
