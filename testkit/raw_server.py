"""One command after the other on a plain socket, and a copy of all keys that is put back as fast as possible."""

import socket
from collections.abc import Sequence
from typing import Any, Self

import hiredis

from chat_session.storage.redis.net.commands import Call, Command, PlainCommand
from chat_session.storage.redis.net.wire import Arg, pack_command
from testkit.servers import Server

CHUNK = 1 << 16

Copy = list[tuple[bytes, int, bytes]]  # of keys: name, deadline in milliseconds or 0, dump


class RawServer:
    """A blocking connection to a server."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def run(self, command: Command[Any]) -> Any:
        """The reply as the command's decoder takes it. An error of the server is raised."""
        if isinstance(command, PlainCommand):
            return self.send(command.words)[0]
        call = command if isinstance(command, Call) else command.fallback
        [reply] = self.send(call.as_evalsha(), check=False)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            [reply] = self.send(call.as_eval(), check=False)
        return _checked(reply)

    def send(self, *commands: Sequence[Arg], check: bool = True) -> list[Any]:
        """The replies to some commands of one round trip."""
        self._socket.sendall(b"".join(map(pack_command, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(CHUNK))
            else:
                replies.append(_checked(reply) if check else reply)
        return replies

    def copy(self, pattern: bytes = b"*") -> Copy:
        [keys] = self.send((b"KEYS", pattern))
        if not keys:
            return []
        dumps = self.send(*((b"DUMP", key) for key in keys))
        now = _to_ms(self.send((b"TIME",))[0])
        left = self.send(*((b"PTTL", key) for key in keys))
        return [(key, now + ms if ms >= 0 else 0, dump) for key, ms, dump in zip(keys, left, dumps, strict=True)]

    def put_back(self, copy: Copy) -> None:
        """All keys become what they were."""
        self.send((b"FLUSHDB",), *((b"RESTORE", key, at, dump, b"ABSTTL") for key, at, dump in copy))


def _checked(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


def _to_ms(time: list[bytes]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000
