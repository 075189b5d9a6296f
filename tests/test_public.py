"""What can be imported from chat_session, and how it type-checks."""

import subprocess
import sys
from pathlib import Path

import chat_session
from chat_session import errors

CLIENTS = """
from redis.asyncio import Redis, RedisCluster
from chat_session import Agent, Message, Sender, SessionManager

sender: Sender = "assistant"
agent: Agent = "human"

async def use() -> None:
    SessionManager(RedisCluster(host="h", port=1))
    SessionManager(Redis(host="h"))
    Message(sender=sender, text="x")
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
