"""The state of users and applications on Redis: a hash for each, which never expires."""

from collections.abc import Mapping
from typing import Any

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES
from chat_session.errors import StoreCorrupt
from chat_session.storage.redis.codec import decode_value
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import fields
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import state as scripts


class RedisState:
    """Keeps StateStore's promises on one Redis server or a cluster."""

    def __init__(self, executor: CommandExecutor, keys: Keys) -> None:
        self._executor = executor
        self._keys = keys

    async def get_state(self, scope: str) -> dict[str, Any]:
        key = self._keys.state(scope)
        return _decode(key, await self._executor.run("get_state", PlainCommand((b"HGETALL", key), fields)))

    async def update_state(self, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        key = self._keys.state(scope)
        call = scripts.update_state(key, max_entries=MAX_METADATA_ENTRIES, max_bytes=MAX_JSON_BYTES, changes=changes)
        return _decode(key, await self._executor.run("update_state", call))

    async def delete_state(self, scope: str) -> int:
        return await self._executor.run("delete_state", scripts.delete_state(self._keys.state(scope)))


def _decode(key: bytes, stored: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        return {name.decode(): decode_value(value) for name, value in stored.items()}
    except UnicodeDecodeError:
        raise StoreCorrupt(key.decode(errors="replace"), "has an entry that is not UTF-8") from None
