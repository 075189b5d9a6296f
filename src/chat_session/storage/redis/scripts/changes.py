"""How changes of a hash are passed to a script."""

from collections.abc import Mapping
from typing import Any

from chat_session.checks import encode_value
from chat_session.storage.redis.net.wire import Arg


def write_changes(changes: Mapping[str, Any]) -> list[Arg]:
    """As include/merge.lua takes them: the names to be removed, then the entries to be set."""
    removed = [name for name, value in changes.items() if value is None]
    written = {name: encode_value(value) for name, value in changes.items() if value is not None}
    parts: list[Arg] = [part for entry in written.items() for part in entry]
    return [len(removed), *removed, len(written), *parts]
