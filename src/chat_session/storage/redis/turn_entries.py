"""The index entries of sessions whose turns are found by workers: they are written before the customer's message."""

from collections import OrderedDict

from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts.turns import note_work

REMEMBERED = 10_000  # sessions that are known to have entries


class TurnEntries:
    """Writes them, and remembers for which sessions: only those pay for them."""

    def __init__(self, executor: CommandExecutor, keys: Keys) -> None:
        self._executor = executor
        self._keys = keys
        self._known: OrderedDict[str, None] = OrderedDict()

    def call(self, session_id: str) -> Call[None]:
        """The session has work from now on."""
        return note_work(self._keys.turns(session_id), member=session_id)

    async def write(self, name: str, session_id: str) -> None:
        self.remember(session_id)
        await self._executor.run(name, self.call(session_id))

    def remember(self, session_id: str) -> None:
        self._known[session_id] = None
        self._known.move_to_end(session_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def is_known(self, session_id: str) -> bool:
        return session_id in self._known
