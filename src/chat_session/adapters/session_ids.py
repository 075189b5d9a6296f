"""The session id for the id by which a framework knows a session, and the way back."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from chat_session import Session

ORIGINAL_ID = "adapter_id"  # the metadata entry with the framework's id, where ours is a hash of it
LONGEST_ID = 128

_ESCAPED = re.compile(r"(?:=[0-9A-F]{2})+")
_NOT_KEPT = re.compile(r"[^A-Za-z0-9._:@+-]")  # "=" begins an escape, "~" a hash


def make_session_id(*parts: str) -> str:
    """The session id for the id or ids by which a framework knows a session.

    A character that a session id may not have, and "=" and "~", is written as "=" and the two hexadecimal digits of
    each of its bytes in UTF-8. Several parts are joined by colons, and their own colons are written so, too. More than
    128 characters become the first 63, "~" and the SHA-256 of the whole in hexadecimal; then ``original_id`` is kept
    in the metadata. Different ids never become equal.
    """
    escaped = _escape_all(parts)
    if len(escaped) <= LONGEST_ID:
        return escaped
    return f"{escaped[:63]}~{sha256(escaped.encode()).hexdigest()}"


def original_id(*parts: str) -> dict[str, Any]:
    """The metadata of a session whose id is a hash; empty for others."""
    escaped = _escape_all(parts)
    return {} if len(escaped) <= LONGEST_ID else {ORIGINAL_ID: list(parts)}


def find_original_ids(session: Session) -> list[str]:
    """The several ids that ``make_session_id`` was given, from the session id or the metadata."""
    return _kept_ids(session) or split_session_id(session.session_id)


def find_original_id(session: Session) -> str:
    """The one id that ``make_session_id`` was given, from the session id or the metadata."""
    kept = _kept_ids(session)
    return kept[0] if kept and len(kept) == 1 else _unescape(session.session_id)


def split_session_id(session_id: str) -> list[str]:
    """The several ids that ``make_session_id`` was given, unless the session id is a hash."""
    return [_unescape(part) for part in session_id.split(":")]


def _kept_ids(session: Session) -> list[str] | None:
    """Only where the session id is a hash: else the metadata may have the entry from somebody else."""
    kept = session.metadata.get(ORIGINAL_ID)
    return list(map(str, kept)) if isinstance(kept, list) and "~" in session.session_id else None


def _unescape(part: str) -> str:
    return _ESCAPED.sub(_read_escaped, "" if part == "=" else part)


def _read_escaped(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("=", "")).decode(errors="surrogatepass")
    except UnicodeDecodeError:  # an id that was not made here
        return match[0]


def _escape_all(parts: Sequence[str]) -> str:
    written = [_NOT_KEPT.sub(_escape, part) or "=" for part in parts]
    return ":".join(part.replace(":", "=3A") for part in written) if len(written) > 1 else written[0]


def _escape(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match[0].encode(errors="surrogatepass"))
