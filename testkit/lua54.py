"""A server whose scripts run under Lua 5.4, as Dragonfly's do: a real server for all else.

Lua 5.4 has integers and floats: 4 / 2 is 2.0 there, and would be stored and answered as "2.0". So a float that a
script hands to a command or answers is an error here. One thread does one command after the other.
"""

import hashlib
import selectors
import socket
import threading
from contextlib import suppress
from hashlib import sha1
from typing import Any, Self

import hiredis
from lupa import lua54

CHUNK = 1 << 16


class Lua54Server:
    """Listens on a free port of 127.0.0.1 before a server. Speaks RESP2."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._scripts: dict[bytes, Any] = {}
        self._lua = lua54.LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self._lua.globals()[b"redis"] = self._lua.table_from(
            {b"call": self._call, b"pcall": self._pcall, b"sha1hex": _sha1hex}
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._stop, self._stopped = socket.socketpair()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._server = _Upstream(self._target)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.close()
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        clients: dict[Any, tuple[hiredis.Reader, _Upstream]] = {}
        while True:
            for ready, _ in self._selector.select():
                at: Any = ready.fileobj
                if at is self._stopped:
                    for each in (*clients, self._listener, self._stopped):
                        each.close()
                    for _, upstream in clients.values():
                        upstream.close()
                    self._selector.close()
                    return
                if isinstance(ready.data, socket.socket):  # what was published to a client that has subscribed
                    if ready.data in clients:  # it has not left just now
                        self._forward(ready.data, clients[ready.data][1])
                    continue
                if at is self._listener:
                    client, _ = self._listener.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients[client] = hiredis.Reader(), _Upstream(self._target)
                    self._selector.register(client, selectors.EVENT_READ)
                elif not self._serve_client(at, *clients[at]):
                    self._leave(at, clients.pop(at)[1])

    def _leave(self, client: socket.socket, upstream: "_Upstream") -> None:
        self._selector.unregister(client)
        if upstream.is_subscribed:
            self._selector.unregister(upstream.socket)
        upstream.close()
        client.close()

    def _serve_client(self, client: socket.socket, reader: hiredis.Reader, upstream: "_Upstream") -> bool:
        """False when the client has left."""
        try:
            data = client.recv(CHUNK)
            reader.feed(data)
            replies = []
            while (command := reader.gets()) is not False:
                replies.append(_encode(self._run(command, upstream)))
                if command[0].upper().endswith(b"SUBSCRIBE") and not upstream.is_subscribed:
                    upstream.is_subscribed = True
                    self._selector.register(upstream.socket, selectors.EVENT_READ, client)
            client.sendall(b"".join(replies))
        except OSError:
            return False
        return data != b""

    def _forward(self, client: socket.socket, upstream: "_Upstream") -> None:
        with suppress(OSError):  # whoever reads from the client meets it, too
            said = upstream.read()
            if said is None:
                self._selector.unregister(upstream.socket)
                client.shutdown(socket.SHUT_RDWR)
            else:
                client.sendall(b"".join(map(_encode, said)))

    def _run(self, command: list[bytes], upstream: "_Upstream") -> Any:
        name = command[0].upper()
        if name not in (b"EVAL", b"EVALSHA"):
            return upstream.run(command)
        if name == b"EVAL":
            sha = sha1(command[1]).hexdigest().encode()
            self._scripts[sha] = self._lua.execute(b"return function(KEYS, ARGV) " + command[1] + b"\nend")
        else:
            sha = command[1]
        if sha not in self._scripts:
            return hiredis.ReplyError("NOSCRIPT No matching script.")
        keys = int(command[2])
        tables = map(self._lua.table_from, (command[3 : 3 + keys], command[3 + keys :]))
        try:
            return _from_lua(self._scripts[sha](*tables))
        except Exception as error:  # whatever the script raised is its answer, as of any server
            return hiredis.ReplyError(str(error).partition("\n")[0] or type(error).__name__)

    def _call(self, *words: Any) -> Any:
        """What redis.call is: numbers become text, and an error ends the script."""
        for word in words:
            _refuse_float(word)
        reply = self._server.run([word if isinstance(word, bytes) else b"%d" % word for word in words])
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return self._to_lua(reply)

    def _pcall(self, *words: Any) -> Any:
        """What redis.pcall is: an error is given as a table."""
        try:
            return self._call(*words)
        except hiredis.ReplyError as error:
            return self._lua.table_from({b"err": str(error).encode()})

    def _to_lua(self, reply: Any) -> Any:
        if isinstance(reply, list):
            return self._lua.table_from([self._to_lua(part) for part in reply])
        return False if reply is None else reply


class _Upstream:
    """A connection to the real server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_subscribed = False  # then the server speaks also without being asked
        self._reader = hiredis.Reader()

    def run(self, words: list[bytes]) -> Any:
        packed = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub allows one word only
        self.socket.sendall(packed)
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self.socket.recv(CHUNK))
        return reply

    def read(self) -> list[Any] | None:
        """What the server has said; None if it has closed the connection."""
        data = self.socket.recv(CHUNK, socket.MSG_DONTWAIT)  # a command may have read it a moment ago
        if not data:
            self.is_subscribed = False
            return None
        self._reader.feed(data)
        return list(iter(self._reader.gets, False))

    def close(self) -> None:
        self.socket.close()


def _refuse_float(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError(f"ERR the float {value} left a script")


def _from_lua(value: Any) -> Any:
    _refuse_float(value)
    if lua54.lua_type(value) != "table":
        return None if value is False else value
    if value[b"err"]:
        return hiredis.ReplyError(value[b"err"].decode())
    return [_from_lua(value[i]) for i in range(1, len(value) + 1)]


def _encode(reply: Any) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, hiredis.ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(_encode, reply))
    return b"$%d\r\n%b\r\n" % (len(reply), reply)


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
