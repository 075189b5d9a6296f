"""What is valid of a state: a small mapping that belongs to a user or an application, not to a session."""

from collections.abc import Mapping
from typing import Any

from chat_session.checks import brief, kind_of
from chat_session.errors import InvalidInput
from chat_session.session import check_metadata, check_user_id

_KINDS = ("user", "app")
_ALLOWED = "user:<id> or app:<name>"


def check_scope(value: object) -> str:
    """``user:<id>`` or ``app:<name>``; the name is valid where a user id is."""
    kind, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not colon or kind not in _KINDS:
        raise InvalidInput("scope", _ALLOWED, brief(value))
    try:
        return f"{kind}:{check_user_id(name)}"
    except InvalidInput as error:
        refused = InvalidInput("scope", f"{_ALLOWED}, with {error.allowed} behind the colon", error.got)
    raise refused


def user_scope(user_id: str) -> str:
    return f"user:{user_id}"


def check_changes(value: object, argument: str = "changes") -> dict[str, Any]:
    """Entries to merge; None removes one. By the rules of metadata."""
    if value is None:
        raise InvalidInput(argument, "a mapping", "None")
    return check_metadata(value, argument)


def check_states(value: object) -> dict[str, dict[str, Any]]:
    """Changes by their scopes; None is no changes."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput("state", "a mapping from scopes to changes", kind_of(value))
    return {check_scope(scope): check_changes(changes, "state") for scope, changes in value.items()}
