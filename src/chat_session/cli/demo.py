"""The command demo: one support session from its first message to its end, told as it happens."""

# ruff: noqa: RUF001 - the people in it write Chinese, with its commas

import asyncio
from typing import Any

import msgspec
from rich.text import Text

from chat_session.cli.opening import describe_store, is_store_named, run_on_store
from chat_session.cli.options import Json, Url
from chat_session.cli.output import Output, visible
from chat_session.cli.tables import duration, history_table, session_table, sessions_table
from chat_session.errors import AgentConflict
from chat_session.manager import SessionManager
from chat_session.session import Session

IN_MEMORY = "sqlite:///:memory:"


def demo(url: Url = None, json: Json = False) -> int:
    """Play a support session and tell it step by step.

    A question, an AI, a takeover by a human, a late answer that is refused. The session is deleted at
    the end. Where neither --url nor the environment names a store, it plays in memory.
    """
    output = Output(json)
    if url is None and not is_store_named():
        output.tell(
            visible(f"Neither --url nor the environment names a store, so the demo plays in memory ({IN_MEMORY}).")
        )
        url = IN_MEMORY

    async def work(manager: SessionManager) -> int:
        output.tell(visible(f"Store: {describe_store(manager.settings)}"))
        story = _Story(manager, output)
        await story.play()
        if json:
            output.answer({"url": describe_store(manager.settings), "steps": story.steps}, "")
        return 0

    return run_on_store(url, work, create=True)


class _Story:
    """Plays on the manager's store, tells people each step and keeps it for a program."""

    def __init__(self, manager: SessionManager, output: Output) -> None:
        self.steps: list[dict[str, Any]] = []
        self._manager = manager
        self._output = output

    async def play(self) -> None:
        metadata = {"name": "客服会话", "type": "support"}
        session = await self._manager.create_session("user123", metadata)
        try:
            self._step("user123 opens a session", session.to_dict())
            self._output.tell(session_table(session, -1 if session.ttl is None else session.ttl))
            await self._talk(session)
            await self._look(session)
        finally:
            # Also when Ctrl-C or the store ends the story: it is to be played again on the same store.
            deleted = await asyncio.shield(self._manager.delete_session(session.session_id))
        self._step(f"the session is deleted ({deleted.deleted_keys} keys or rows)", deleted.to_dict())

    async def _talk(self, session: Session) -> None:
        manager, session_id, epoch = self._manager, session.session_id, session.agent_epoch
        await self._say(session_id, "user", "你好，我需要帮助")
        await self._say(session_id, "assistant", "您好！我是 AI 助手，请问有什么可以帮您？", epoch)
        taken = await manager.switch_agent(session_id, "human", expect=epoch, note="人工客服 小王 接手了会话")
        self._step(f"an operator takes over, expecting epoch {epoch}; now it is epoch {taken.epoch}", taken.to_dict())
        try:
            await self._say(session_id, "assistant", "我帮您查一下……", epoch)
        except AgentConflict as refusal:
            self._step(
                "a late reply of the AI, computed before the takeover, is refused",
                {"refused": True, "code": refusal.code, "message": str(refusal)},
            )
            self._output.tell(visible(f"  {refusal}", "yellow"))
        await self._say(session_id, "operator", "您好，我是小王，马上为您处理 👋", taken.epoch)
        history = await manager.get_history(session_id)
        self._step("what was said", [message.to_dict() for message in history])
        self._output.tell(history_table(history))
        back = await manager.switch_agent(session_id, "ai", expect=taken.epoch)
        self._step(f"the operator hands back to the AI: epoch {back.epoch}", back.to_dict())

    async def _look(self, session: Session) -> None:
        active = await self._manager.get_active_sessions_count()
        self._step(f"sessions that live in this store: {active}", active)
        sessions = await self._manager.get_user_sessions(session.user_id)
        self._step(f"sessions of {session.user_id}: {len(sessions)}", [each.to_dict() for each in sessions])
        self._output.tell(sessions_table(sessions, session.user_id))
        left = await self._manager.get_session_ttl(session.session_id)
        self._step(f"left to live, slid by every message: {duration(None if left < 0 else left)}", left)

    async def _say(self, session_id: str, sender: str, text: str, epoch: int | None = None) -> None:
        result = await self._manager.add_message(session_id, {"from": sender, "text": text}, epoch=epoch)
        self._step(f"{sender}: {text}", result.to_dict())

    def _step(self, what: str, result: Any) -> None:
        self.steps.append({"step": what, "result": msgspec.to_builtins(result)})
        self._output.tell(Text(f"{len(self.steps):2}. ", "bold").append_text(visible(what, "not bold")))
