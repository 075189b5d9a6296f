"""From what a script found of a session to what a watcher is told of it."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from chat_session.errors import StoreCorrupt
from chat_session.session import Session
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Edit, Observation, ReplyState
from chat_session.storage.redis.codec import CREATED, decode_meta, decode_number
from chat_session.storage.redis.scripts.feed import Observed

DRAFT = b"cs:draft"  # of the last reply that was begun
EDITS = b"cs:edits"  # the last changes that were no appends
TRIMMED = b"cs:trimmed"  # the newest run of trimmed messages that were internal

_CREATED = CREATED.encode()


def decode_observation(meta: bytes, found: Observed, position: int, default_ttl: int) -> Observation | None:
    """``position``: the sequence number that the watcher was told last. Raises StoreCorrupt, which names ``meta``."""
    session = decode_meta(meta, found.fields, default_ttl)
    if session is None:
        return None
    try:
        edits = _read_edits(found.fields.get(EDITS, b""))
        reply = _read_reply(found, session)
        trimmed = _find_trimmed(found.fields.get(TRIMMED), found.first - 1)
    except (ValueError, msgspec.MsgspecError):
        problem = "has fields for the feed that cannot be read"
        raise StoreCorrupt(meta.decode(), problem, session_id=session.session_id) from None
    begin = max(position + 1, found.first)
    return Observation(
        session=session,
        incarnation=_find_incarnation(found.fields),
        expires=found.expires,
        first=found.first,
        last=found.last,
        trimmed=trimmed,
        edits=edits,
        told=None if found.told is None else decode_message(found.told, position),
        messages=[decode_message(element, seq) for seq, element in enumerate(found.elements, begin)],
        reply=reply,
    )


def _find_incarnation(fields: Mapping[bytes, bytes]) -> str:
    """Of the token of the call that created the session, if there is one, and the moment of its creation."""
    written = b"%b %b" % (fields.get(_CREATED, b""), fields[b"createdAt"])
    return blake2b(written, digest_size=4).hexdigest()


def _find_trimmed(run: bytes | None, newest: int) -> int:
    """The newest trimmed message that the customer could see; ``newest``: of all that were trimmed."""
    if run is None:
        return newest
    begin, end = map(decode_number, run.split(b"-"))
    return begin - 1 if end == newest else newest


def _read_edits(stored: bytes) -> Sequence[Edit]:
    """As include/edit.lua writes them."""
    edits = []
    for each in stored.decode().split():
        revision, changed, tag = each.split(":", 2)
        first, _, last = ("0", "", "0") if changed == "*" else changed.partition("-")
        edits.append(Edit(int(revision), int(first), int(last), tag))
    return edits


def _read_reply(found: Observed, session: Session) -> ReplyState | None:
    """What cs:draft says: ``id epoch growing author``, ``id committed seq`` or ``id aborted reason``."""
    stored = found.fields.get(DRAFT)
    if stored is None:
        return None
    reply_id, second, rest = stored.decode().split(" ", 2)
    if second == "committed":
        return ReplyState(reply_id, "committed", seq=int(rest))
    if second == "aborted":
        return ReplyState(reply_id, "aborted", reason=rest)
    state, _, written = rest.partition(" ")
    if state != "growing":
        raise ValueError(state)
    author = msgspec.json.decode(written, type=str) if written else None
    if int(second) != session.agent_epoch:
        return ReplyState(reply_id, "aborted", author, "taken_over")
    if found.text is None:
        return ReplyState(reply_id, "aborted", author, "expired")
    return ReplyState(reply_id, "growing", author, offset=found.offset, text=found.text)
