"""Streaming replies on Redis: the text of the reply that grows is a string beside the session's own keys."""

import msgspec

from chat_session.clock import now, to_iso
from chat_session.message import Draft
from chat_session.storage.codec import encode_message
from chat_session.storage.contract import Appended
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.messages import read_appended
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import replies as scripts
from chat_session.storage.redis.turns import RedisTurns


class RedisReplies:
    """Keeps ReplyStore's promises on one Redis server or a cluster."""

    def __init__(
        self, executor: CommandExecutor, keys: Keys, turns: RedisTurns, *, default_ttl: int, max_history: int
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._turns = turns
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def begin_reply(self, session_id: str, token: str, reply_id: str, author: str | None) -> None:
        call = scripts.begin_reply(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            token=token,
            reply_id=reply_id,
            author=b"" if author is None else msgspec.json.encode(author),
        )
        await self._executor.run("begin_reply", call)

    async def write_reply(self, session_id: str, token: str, reply_id: str, offset: int, text: bytes) -> int:
        call = scripts.write_reply(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            token=token,
            reply_id=reply_id,
            offset=offset,
            text=text,
        )
        return await self._executor.run("write_reply", call)

    async def commit_reply(self, session_id: str, token: str, draft: Draft, read_to: int) -> Appended:
        reply_id = draft.message.id or ""
        [appended] = await self._turns.append("commit_reply", session_id, token, [draft], read_to, reply_id)
        return appended

    async def abort_reply(self, session_id: str, reply_id: str, reason: str) -> None:
        keys, draft = self._keys.session(session_id), self._keys.draft(session_id)
        await self._executor.run("abort_reply", scripts.abort_reply(keys, draft, reply_id=reply_id, reason=reason))

    async def commit_partial(self, session_id: str, draft: Draft, length: int, reason: str) -> Appended | None:
        call = scripts.commit_partial(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            reply_id=draft.message.id or "",
            length=length,
            reason=reason,
            elements=[encode_message(draft)],
        )
        stored = await self._executor.run("commit_partial", call)
        return None if stored is None else read_appended([draft], stored)[0]
