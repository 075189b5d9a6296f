"""What is valid of the fields that agents need beside a message's text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chat_session.checks import brief, check_integer, check_name, check_text, has_control_characters, kind_of
from chat_session.content import check_content
from chat_session.errors import InvalidInput

AGENT_NAMES = ("format", "author", "calls", "answers", "tokens", "content", "internal")  # in the order of an element
_MAX_TYPE = 64
_MAX_AUTHOR = 256
_MAX_CALLS = 256  # that one message makes or answers
_MAX_CALL_ID = 256


def check_agent_fields(
    argument: str, given: Mapping[str, object], max_bytes: int, *, lenient: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields; and with ``lenient`` those that another program uses for something else. Raises InvalidInput."""
    checked: dict[str, Any] = {}
    foreign: dict[str, Any] = {}
    for name, value in given.items():
        try:
            checked[name] = _CHECKS[name](f"{argument}.{name}", value)
        except InvalidInput:
            if not lenient:
                raise
            foreign[name] = value
    if "content" in checked:
        checked["content"] = check_content(f"{argument}.content", checked["content"], max_bytes)
        if bytes(checked["content"]) == b"null":  # as None, which is how it would be read
            del checked["content"]
    return checked, foreign


def check_label(argument: str, value: object) -> str:
    """A type or a format."""
    allowed = f"1 to {_MAX_TYPE} characters without control characters"
    text = check_text(argument, value, allowed)
    if not 1 <= len(text) <= _MAX_TYPE or has_control_characters(text):
        raise InvalidInput(argument, allowed, brief(text))
    return text


def _check_author(argument: str, value: object) -> str:
    return check_name(argument, value, _MAX_AUTHOR)


def _check_call_ids(argument: str, value: object) -> tuple[str, ...]:
    allowed = f"a list of at most {_MAX_CALLS} ids of 1 to {_MAX_CALL_ID} characters without control characters"
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput(argument, allowed, kind_of(value))
    ids = tuple(check_text(argument, each, allowed) for each in value[: _MAX_CALLS + 1])
    if len(ids) > _MAX_CALLS or not all(1 <= len(each) <= _MAX_CALL_ID for each in ids):
        raise InvalidInput(argument, allowed, f"{len(value):,} ids, the longest of {max(map(len, ids)):,} characters")
    if any(map(has_control_characters, ids)):
        raise InvalidInput(argument, allowed, "one with a control character")
    return ids


def _check_tokens(argument: str, value: object) -> int:
    return check_integer(argument, value, 0, 2**53 - 1, "a whole number, 0 or more")


def _check_internal(argument: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(argument, "True or False", kind_of(value))
    return value


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "format": check_label,
    "author": _check_author,
    "calls": _check_call_ids,
    "answers": _check_call_ids,
    "tokens": _check_tokens,
    "content": lambda _, value: value,
    "internal": _check_internal,
}
