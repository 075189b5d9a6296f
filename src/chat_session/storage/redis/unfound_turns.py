"""For the doctor: sessions that wait for a worker and that no worker would find."""

from collections.abc import Sequence

from chat_session.errors import StoreDenied
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import score
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts.turns import check_turn
from chat_session.storage.redis.turn_entries import TurnEntries


class UnfoundTurns:
    """Finds them, and writes their index entries."""

    def __init__(self, executor: CommandExecutor, keys: Keys, entries: TurnEntries) -> None:
        self._executor = executor
        self._keys = keys
        self._entries = entries

    async def is_denied(self) -> bool:
        """Whether the user has no right to the index."""
        command = PlainCommand((b"ZSCORE", self._keys.turn_bucket(0), b""), score)
        try:
            await self._executor.run("diagnose", command)
        except StoreDenied:
            return True
        return False

    async def find(self, session_ids: Sequence[str]) -> list[str]:
        """Those of these sessions that wait and have no index entry."""
        reads = [PlainCommand((b"ZSCORE", self._keys.turns(each), each), score) for each in session_ids]
        entries = await self._executor.run_all("diagnose", reads, keep_corrupt=True)
        unlisted = [session_id for session_id, entry in zip(session_ids, entries, strict=True) if entry is None]
        checks = [check_turn(session_id, self._keys.session(session_id)) for session_id in unlisted]
        states = await self._executor.run_all("diagnose", checks, keep_corrupt=True)
        return [each for each, state in zip(unlisted, states, strict=True) if state == ("pending", 0)]

    async def write(self, session_id: str) -> None:
        await self._entries.write("diagnose", session_id)
