"""What can be sent: a call of a script, a reading command, or several of those in one transaction.

Each knows how its reply is decoded. A decoder gives what the caller wants, or raises UnexpectedReply for a reply
that Redis would not give, so that nothing else reads it.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from chat_session.storage.redis.net.pipeline import PipelinedConnection
from chat_session.storage.redis.net.wire import Arg, WireCommand, pack_command

T = TypeVar("T")

_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_ASKING = b"*1\r\n$6\r\nASKING\r\n"


class UnexpectedReply(Exception):  # it never leaves this package
    """What answers is not the server that we think it is."""


class Script(NamedTuple):
    """A script's text, and the name under which a server keeps it."""

    name: str
    text: bytes
    sha: bytes
    writes: bool


class Call(Struct, Generic[T], frozen=True, gc=False):
    """One script with its keys and arguments.

    It is one EVALSHA. The first of its script on a connection is an EVAL, which brings the text along. A server that
    has forgotten the script all the same (a flush) answers NOSCRIPT, and the text is brought again.
    """

    script: Script
    keys: tuple[bytes, ...]
    args: tuple[Arg, ...]
    decode: Callable[[Any], T]

    @property
    def name(self) -> str:
        return self.script.name

    @property
    def key(self) -> bytes:
        """Decides which server is asked."""
        return self.keys[0]

    def as_evalsha(self) -> tuple[Arg, ...]:
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    def as_eval(self) -> tuple[Arg, ...]:
        return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


class PlainCommand(Struct, Generic[T], frozen=True, gc=False):
    """One command that reads, or that is repeatable by nature, such as ZADD. Its second word is its key."""

    words: tuple[Arg, ...]
    decode: Callable[[Any], T]

    @property
    def name(self) -> str:
        return _text(self.words[0]).decode()

    @property
    def key(self) -> bytes:
        return _text(self.words[1]) if len(self.words) > 1 else b""

    @property
    def keys(self) -> tuple[bytes, ...]:
        return (self.key,) if len(self.words) > 1 else ()


class ReadTransaction(Struct, Generic[T], frozen=True, gc=False):
    """Reading commands in one transaction, at a third of what a script costs the server.

    ``fallback`` is a script that asks the same. It is used where a transaction is refused: by a server that is full,
    of a slot on the move, to a user who may not.
    """

    commands: tuple[tuple[Arg, ...], ...]
    decode: Callable[[Any], T]
    fallback: Call[T]

    @property
    def name(self) -> str:
        return self.fallback.name

    @property
    def key(self) -> bytes:
        return self.fallback.keys[0]

    @property
    def keys(self) -> tuple[bytes, ...]:
        return self.fallback.keys


Command = Call[T] | PlainCommand[T] | ReadTransaction[T]


def is_script_reply(reply: Any) -> bool:
    """Whether it begins with a status code, as no reply to a transaction of ours does."""
    return type(reply) is list and len(reply) > 0 and type(reply[0]) is bytes


def to_wire(command: Command[Any], server: PipelinedConnection, *, asking: bool = False) -> WireCommand:
    """``asking``: the slot of the key is being moved to this server."""
    if isinstance(command, ReadTransaction):
        queued = b"".join(map(pack_command, command.commands))
        return WireCommand(_MULTI + queued + _EXEC, writes=False, replies=len(command.commands) + 2)
    writes = False
    if isinstance(command, Call):
        is_first = server.claim_first_send(command.script.sha)
        data = pack_command(command.as_eval() if is_first else command.as_evalsha())
        writes = command.script.writes
    else:
        data = pack_command(command.words)
    return WireCommand(_ASKING + data, writes, replies=2) if asking else WireCommand(data, writes)


def _text(word: Arg) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
