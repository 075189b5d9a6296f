"""ADK's session state as entries of metadata, one for each key, so that a change merges only what it names.

A key and a value that metadata can hold are stored as they are, so the application reads and writes the same entries.
Any other is stored as ``{"adk:item": "[key, value]"}``, JSON in a string: a value of None, an integer beyond 2^53, NaN,
more than 32 levels. A key that metadata refuses, such as ``userId`` or one of more than 64 characters, or that begins
with ``adk:``, has the entry's name ``adk:`` and the first 32 hexadecimal digits of the key's SHA-256.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, to_jsonable_python

from chat_session import InvalidInput
from chat_session.adapters.session_ids import ORIGINAL_ID
from chat_session.checks import JsonCopy
from chat_session.session import check_metadata_name

OWN = "adk:"  # begins the names of the adapter's own entries
LAST = "adk:last"  # the entry that names the newest event, see marker.py
_ITEM = "adk:item"
_APP, _USER, _TEMP = "app:", "user:", "temp:"


class Scopes(NamedTuple):
    """Changes of a state by the place where they are stored. Keys have no prefix; ``temp:`` is stored nowhere."""

    session: dict[str, Any]
    user: dict[str, Any]
    app: dict[str, Any]


def split_state(state: Mapping[str, Any]) -> Scopes:
    """By the prefixes ``app:``, ``user:`` and ``temp:``, as JSON values."""
    scopes = Scopes({}, {}, {})
    for key, value in state.items():
        if key.startswith(_APP):
            scopes.app[key.removeprefix(_APP)] = _to_json(value)
        elif key.startswith(_USER):
            scopes.user[key.removeprefix(_USER)] = _to_json(value)
        elif not key.startswith(_TEMP):
            scopes.session[key] = _to_json(value)
    return scopes


def is_temporary(key: str) -> bool:
    return key.startswith(_TEMP)


def pack_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that hold these keys. Each is merged by itself, and none removes one."""
    return dict(_pack(key, value) for key, value in state.items())


def unpack_state(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The state in these entries: the application's own ones, too, and not what adapters keep there."""
    state = {}
    for name, stored in entries.items():
        if isinstance(stored, dict) and stored.keys() == {_ITEM}:
            key, value = json.loads(stored[_ITEM])
            state[key] = value
        elif name != ORIGINAL_ID and not name.startswith(OWN):
            state[name] = stored
    return state


def merge_scopes(session: Mapping[str, Any], user: Mapping[str, Any], app: Mapping[str, Any]) -> dict[str, Any]:
    """The state as ADK shows it, from the entries of the three places."""
    return {
        **unpack_state(session),
        **{_APP + key: value for key, value in unpack_state(app).items()},
        **{_USER + key: value for key, value in unpack_state(user).items()},
    }


def _pack(key: str, value: Any) -> tuple[str, Any]:
    plain = _is_name(key)
    if plain and _is_value(value):
        return key, value
    name = key if plain else OWN + sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
    return name, {_ITEM: json.dumps([key, value])}


def _is_name(key: str) -> bool:
    if key == ORIGINAL_ID or key.startswith(OWN):
        return False
    try:
        check_metadata_name(key)
    except InvalidInput:
        return False
    return True


def _is_value(value: Any) -> bool:
    if value is None or (isinstance(value, dict) and _ITEM in value):
        return False
    try:
        JsonCopy("state").copy(value, "state")
    except InvalidInput:
        return False
    return True


def _to_json(value: Any) -> Any:
    """As ADK's own services store it: a date as text, and what JSON cannot hold, such as a function, by its name."""
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError):
        return to_jsonable_python(value, fallback=str, bytes_mode="base64")
