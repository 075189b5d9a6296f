"""What replies look like. Whatever else answers is refused before anybody reads it, so that it is a typed error."""

from collections.abc import Callable, Mapping
from itertools import chain
from math import isfinite, isnan
from types import NoneType
from typing import Any

from chat_session.storage.redis.scripts import Call

Check = Callable[[Any], bool]


def _is(*kinds: type) -> Check:
    if len(kinds) == 1:
        return lambda reply: type(reply) is kinds[0]
    return lambda reply: type(reply) in kinds


def _all(*kinds: type, even: bool = False) -> Check:
    """A list of these."""
    allowed = frozenset(kinds)
    return lambda reply: type(reply) is list and allowed.issuperset(map(type, reply)) and not (even and len(reply) % 2)


def _row(*checks: Check) -> Check:
    """A list that has exactly these."""

    def check(reply: Any) -> bool:
        if type(reply) is not list or len(reply) != len(checks):
            return False
        for right, part in zip(checks, reply, strict=True):  # noqa: SIM110 - all() takes twice as long
            if not right(part):
                return False
        return True

    return check


def _row_of(*kinds: type) -> Check:
    """A list that has exactly one of each of these types."""
    wanted = list(kinds)
    return lambda reply: [*map(type, reply)] == wanted


def _is_hash(reply: Any) -> bool:
    parts = list(chain.from_iterable(reply.items())) if type(reply) is dict else reply  # RESP3, RESP2
    return _STRINGS_IN_PAIRS(parts)


def _is_ranking(reply: Any) -> bool:
    """Members with their scores: flat in RESP2, in pairs in RESP3."""
    if type(reply) is not list or not reply or type(reply[0]) is not list:
        return _is_flat_ranking(reply)
    for pair in reply:  # noqa: SIM110 - as above
        if type(pair) is not list or [*map(type, pair)] != _PAIR:
            return False
    return True


def _is_flat_ranking(reply: Any) -> bool:
    if reply == []:
        return True
    return _STRINGS_IN_PAIRS(reply) and all(map(_is_number, reply[1::2]))


def _is_number(text: bytes) -> bool:
    try:
        return not isnan(float(text))
    except ValueError:
        return False


def _is_score(reply: Any) -> bool:
    return reply is None or type(reply) is float or (type(reply) is bytes and _is_number(reply))


def _are_answers(tail: Any) -> bool:
    if len(tail) == 2:  # noqa: PLR2004 - nearly always
        return type(tail[0]) is int and (tail[1] is None or type(tail[1]) is bytes)
    return _all(int)(tail[::2]) and _all(bytes, NoneType)(tail[1::2]) and len(tail) % 2 == 0


_STRING, _NUMBER, _MAYBE = _is(bytes), _is(int), _is(bytes, NoneType)
_STRINGS, _STRINGS_IN_PAIRS = _all(bytes), _all(bytes, even=True)
_SESSION = _is(dict, list)  # its parts are read once, by codec.py
_NOTHING = _row_of()
_PAIR = [bytes, float]
_GONE = {b"GONE": _NOTHING}
_CORRUPT = {b"CORRUPT": _row_of(bytes)}
_REFUSED = _GONE | _CORRUPT | {b"STALE": _row_of(int, bytes), b"CONFLICT": _row_of(bytes)}


def _is_whole(text: Any) -> bool:
    return type(text) is bytes and text.isdigit() and len(text) <= 16  # noqa: PLR2004 - milliseconds have 13


def _is_moment(text: Any) -> bool:
    return type(text) is bytes and _is_number(text) and isfinite(float(text))


# What may follow each status code.
_SCRIPTS: Mapping[str, Mapping[bytes, Check]] = {
    "create_session": {b"OK": _row_of(bytes), b"EXISTS": _NOTHING},
    "append_messages": {b"OK": _are_answers} | _REFUSED,
    "get_history": {b"OK": _row(_NUMBER, _STRINGS)} | _GONE | _CORRUPT,
    "switch_agent": {b"OK": _row_of(int, int)} | _REFUSED,
    "update_session": {b"OK": _row(_SESSION), b"FULL": _row_of(int, int)} | _GONE,
    "delete_session": {b"OK": _row_of(int), b"MOVED": _NOTHING} | _GONE,
    "extend_session": {b"OK": _NOTHING} | _GONE | _CORRUPT,
    "set_ttl": {b"OK": _row_of(bytes)} | _GONE,
    "read_entries": {b"OK": _row(_NUMBER, _is_flat_ranking, _is_whole)},
    "list_entries": {b"OK": _row(_is_flat_ranking)},
    "begin_entry": {b"OK": _row(_is_moment)},
    "change_entry": {b"OK": _row_of(int)},
    "finish_entry": {b"OK": _row(_is_score)},
    "enter_user": {b"OK": _row(_STRING, _is_score)},
    "reconcile_entry": {b"ALIVE": _NOTHING, b"DEAD": _row_of(int)},
    "remove_orphan": {b"OK": _row_of(int)},
}

_COMMANDS: Mapping[bytes, Check] = {
    b"CONFIG": _is_hash,
    b"EXISTS": _NUMBER,
    b"HEXISTS": _NUMBER,
    b"HGET": _MAYBE,
    b"HGETALL": _SESSION,
    b"HMGET": _all(bytes, NoneType),
    b"HSCAN": _row(_STRING, _is_hash),
    b"INFO": _STRING,
    b"LRANGE": _STRINGS,
    b"PTTL": _NUMBER,
    b"SCAN": _row(_STRING, _STRINGS),
    b"TIME": _row(_is_whole, _is_whole),
    b"TYPE": _STRING,
    b"ZADD": _NUMBER,
    b"ZREM": _NUMBER,
    b"ZREVRANGE": _is_ranking,
    b"ZSCAN": _row(_STRING, _is_ranking),
    b"ZSCORE": _is_score,
}

is_transaction_reply: Check = _row(_all(bytes, NoneType), _NUMBER, _STRINGS)


def is_script_reply(call: Call, reply: Any) -> bool:
    if type(reply) is not list or not reply or type(reply[0]) is not bytes:
        return False
    check = _SCRIPTS[call.script.name].get(reply[0])
    if check is None or not check(reply[1:]):
        return False
    return check is not _are_answers or 3 * (len(reply) - 1) == 2 * (len(call.args) - 4)  # id, fingerprint, element


def is_command_reply(command: Any, reply: Any) -> bool:
    word = command[0]
    return _COMMANDS[word](reply) and (word != b"HMGET" or len(reply) == len(command) - 2)
