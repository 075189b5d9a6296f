"""A wrong argument is refused at once, by its name, and nothing is stored. This holds on every store."""

import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from chat_session import (
    Desk,
    Inspector,
    InvalidInput,
    Message,
    MessageTooLarge,
    SessionCleanup,
    SessionExists,
    SessionManager,
    SettingsError,
)
from chat_session.message import UNLIMITED, check_messages
from chat_session.session import check_metadata
from testkit.present import present

AT_ONCE = 0.5  # seconds of the processor: a refusal costs no more than reading its argument, even a huge one


class Odd(str):
    """A str whose __str__ says something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Mean:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def circular() -> Any:
    value: dict[str, Any] = {}
    value["self"] = [value, value, value]
    return {"c": value}


def text_message(**fields: Any) -> dict[str, Any]:
    return {"from": "user", "text": "x", **fields}


HUGE = "x" * 10_000_000
SURROGATE = "a\ud800b"

SESSION_IDS: list[Any] = [
    *("", " ", "}", "a}b", "{a", "a%2Fb", "+49 30", "*", "?", "[", "../x", "a/b", "a\n", "a\x00", "a\r\n", "a b", "é"),
    *("x" * 129, HUGE, "ａ", "a\u200bb", "e\u0301", SURROGATE, 1, b"a", None, [], {}, True, Mean()),
]
USER_IDS: list[Any] = [
    "",
    " ",
    "\t",
    "\u3000 ",
    "u" * 257,
    "x" * 1_000_000,
    "a\nb",
    "a\x00",
    "a\x7f",
    "a\x85b",
    "\u2028",
    SURROGATE,
]
USER_IDS += [None, 1, b"u", ["u"], Mean()]

METADATA: list[Any] = [
    [],
    "text",
    1,
    {"n": float("nan")},
    {"n": float("inf")},
    {"n": 1e999},
    {"n": 2**53},
    {"n": -(2**53)},
    {"n": 10**5000},
    {"n": nested(33)},
    {"n": nested(900)},
    {"n": nested(100_000)},
    {"n": {"a": {"b": [float("-inf")]}}},
    circular(),
    {"n": b"bytes"},
    {"n": {1, 2}},
    {"n": (1, 2)},
    {"n": datetime(2026, 1, 1)},  # noqa: DTZ001 - refused, whatever its zone
    {"n": Mean()},
    {"n": SURROGATE},
    {"n": {SURROGATE: 1}},
    {"n": {1: 2}},
    *({name: "x"} for name in ("userId", "sessionId", "createdAt", "lastActiveAt", "currentAgent")),
    *({name: "x"} for name in ("agentSwitchedAt", "ttl", "agentEpoch", "messageCount")),
    {"": 1},
    {"x" * 65: 1},
    {SURROGATE: 1},
    {"a\nb": 1},
    {"a\x00": 1},
    {1: "int", "1": "text"},
    {None: 1},
    {f"n{i}": i for i in range(65)},
    {"n": "x" * (64 * 1024 + 1)},
    {"n": "漢" * 22_000},
    {"n": HUGE},
    {"n": list(range(70_000))},
]
TTLS: list[Any] = [
    0,
    -1,
    True,
    False,
    1.5,
    60.0,
    float("nan"),
    float("inf"),
    "60",
    " 60 ",
    "",
    315_360_001,
    2**63 - 1,
    10**5000,
]
TTLS += [b"60", [], Mean()]
LIMITS: list[Any] = [0, -1, True, 10_001, 10**9, 10**5000, "all", "20", 1.5, float("nan"), b"1", []]
AGENTS: list[Any] = ["robot", "AI", "Human", "ai\n", " ai", "", "x" * 10_000, None, 1, True, b"ai", ["ai"]]
EPOCHS: list[Any] = [-1, True, 1.5, "0", 2**53, 10**5000, b"0"]

MESSAGES: list[Any] = [
    *(None, "text", 1, [], b"x", Mean()),
    *({}, {"text": "x"}, {"from": "user"}, {"from": "user", "text": None}),
    *(text_message(text=value) for value in (SURROGATE, ["x"], 1, b"x")),
    *({"from": value, "text": "x"} for value in ("robot", " user", "user\n", "User", "", None, 1, b"user", ["user"])),
    *(text_message(id=value) for value in ("", "x" * 129, "a\nb", "a\x00", SURROGATE, 1, b"a", HUGE)),
    *(text_message(timestamp=value) for value in ("yesterday", "2026-01-01T00:00:00", "0000-01-01T00:00:00Z")),
    *(text_message(timestamp=value) for value in ("10000-01-01T00:00:00Z", "", 0, 1.5, True, b"2026", SURROGATE)),
    text_message(timestamp=datetime(2026, 1, 1)),  # noqa: DTZ001 - naive on purpose
    *(text_message(type=value) for value in ("", "x" * 65, "a\nb", 1, SURROGATE)),
    *(text_message(more=value) for value in (float("nan"), 2**53, nested(40), b"x", "x" * 70_000, SURROGATE)),
    {**text_message(), 1: "x"},
    Message(sender="robot", text="x"),  # type: ignore[arg-type]
    Message(sender="user", text=1),  # type: ignore[arg-type]
    Message(sender="user", text="x", extra={"text": "other"}),
    Message(sender="user", text="x", extra=[]),  # type: ignore[arg-type]
]
BATCHES: list[Any] = [
    *([], None, "ab", b"ab", 1, {}, text_message(), [text_message()] * 10_001),
    [text_message(), text_message(text=None)],
    [text_message(id="a"), text_message(id="b"), text_message(id="a", text="other")],
]


async def refuse(argument: str, call: Callable[[], Awaitable[Any]]) -> InvalidInput:
    """The call is refused at once. The error names the argument, what is allowed and, shortened, what was given."""
    started = time.thread_time()
    with pytest.raises(InvalidInput) as refused:
        await call()
    assert time.thread_time() - started < AT_ONCE
    error = refused.value
    assert error.argument.startswith(argument)
    assert error.argument in str(error)
    assert error.allowed in str(error)
    assert len(str(error)) < 500
    assert (error.code, error.retryable) in {("invalid_input", False), ("message_too_large", False)}
    assert isinstance(error, ValueError)
    return error


@pytest.fixture
async def stored(manager: SessionManager, backend: Any) -> Any:
    """A store with one session in it. The test must not change it."""
    await manager.create_session("u", {"a": 1}, session_id="s", ttl=3000)
    await manager.add_message("s", {"id": "m", "from": "user", "text": "x"})
    before = await backend.digest(manager)
    yield manager
    assert await backend.digest(manager) == before
    assert await manager.get_session_ttl("s") > 2900


async def test_bad_session_ids_are_refused_by_every_call(stored: SessionManager) -> None:
    message, desk = text_message(), Desk(stored)
    for bad in SESSION_IDS:
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(stored.get_session, bad),
            partial(stored.is_session_active, bad),
            partial(stored.update_session, bad, {}),
            partial(stored.delete_session, bad),
            partial(stored.extend_session, bad),
            partial(stored.add_message, bad, message),
            partial(stored.add_messages, bad, [message]),
            partial(stored.get_history, bad),
            partial(stored.get_session_agent, bad),
            partial(stored.switch_agent, bad, "ai"),
            partial(stored.set_session_ttl, bad, 5),
            partial(stored.get_session_ttl, bad),
            partial(stored.check_epoch, bad, 0),
            partial(desk.request_human, bad),
            partial(desk.take_over, bad, "anna"),
            partial(desk.answer, bad, "anna", "x"),
            partial(desk.note, bad, "anna", "x"),
            partial(desk.transfer, bad, "anna", to="ben"),
            partial(desk.decline, bad, "anna"),
            partial(desk.hand_back, bad, "anna"),
        ]
        if bad is not None:  # for create_session, None means a new id
            calls.append(partial(stored.create_session, "u", session_id=bad))
        for call in calls:
            await refuse("session_id", call)


async def test_bad_user_ids_are_refused(stored: SessionManager) -> None:
    for bad in USER_IDS:
        await refuse("user_id", partial(stored.create_session, bad))
        await refuse("user_id", partial(stored.get_user_sessions, bad))


async def test_bad_operator_ids_are_refused(stored: SessionManager) -> None:
    desk = Desk(stored)
    for bad in USER_IDS:
        for call in (
            partial(desk.claim_next, bad),
            partial(desk.take_over, "s", bad),
            partial(desk.answer, "s", bad, "x"),
            partial(desk.note, "s", bad, "x"),
            partial(desk.transfer, "s", bad, to="ben"),
            partial(desk.decline, "s", bad),
            partial(desk.hand_back, "s", bad),
            partial(desk.operator_seen, bad),
        ):
            await refuse("operator_id", call)
        await refuse("to", partial(desk.transfer, "s", "anna", to=bad))


async def test_bad_messages_are_refused_as_answers(stored: SessionManager) -> None:
    not_named = [bad for bad in MESSAGES if bad != "text" and not (isinstance(bad, dict) and bad == {"text": "x"})]
    for bad in not_named:
        await refuse("message", partial(Desk(stored).answer, "s", "anna", bad))


async def test_long_texts_of_the_desk_are_refused_at_once(stored: SessionManager) -> None:
    desk = Desk(stored)
    for bad in (HUGE, HUGE + "\ud800", "漢" * 100_000):
        await refuse("reason", partial(desk.request_human, "s", reason=bad))
        await refuse("team", partial(desk.request_human, "s", team=bad))
        await refuse("say", partial(desk.request_human, "s", say=bad))
        await refuse("teams[0]", partial(desk.claim_next, "anna", teams=[bad]))
        await refuse("expect", partial(desk.take_over, "s", "anna", expect=bad))
        await refuse("note", partial(desk.note, "s", "anna", bad))
        await refuse("note", partial(desk.hand_back, "s", "anna", note=bad))
        await refuse("cursor", partial(desk.waiting, cursor=bad))


async def test_bad_metadata_is_refused(stored: SessionManager) -> None:
    for bad in METADATA:
        await refuse("metadata", partial(stored.create_session, "u", bad))
        await refuse("metadata", partial(stored.update_session, "s", bad))


async def test_bad_ttls_are_refused_and_the_deadline_stays(stored: SessionManager) -> None:
    for bad in TTLS:
        await refuse("ttl", partial(stored.create_session, "u", ttl=bad))
        await refuse("ttl", partial(stored.set_session_ttl, "s", bad))


async def test_bad_limits_and_windows_are_refused(stored: SessionManager) -> None:
    for bad in LIMITS:
        await refuse("limit", partial(stored.get_history, "s", bad))
        await refuse("limit", partial(stored.get_user_sessions, "u", limit=bad))
    windows: list[Any] = [-1, 1.0, True, "1", 10**5000, []]
    for bad in windows:
        await refuse("before", partial(stored.get_history, "s", before=bad))
        await refuse("after", partial(stored.get_history, "s", after=bad))
    for before, after in ((5, 5), (5, 6), (0, 0)):
        await refuse("after", partial(stored.get_history, "s", before=before, after=after))


async def test_bad_agents_epochs_and_notes_are_refused(stored: SessionManager) -> None:
    for bad in AGENTS:
        await refuse("new_agent", partial(stored.switch_agent, "s", bad))
        await refuse("agent", partial(stored.create_session, "u", agent=bad))
    for bad in EPOCHS:
        await refuse("epoch", partial(stored.add_message, "s", text_message(), epoch=bad))
        await refuse("expect", partial(stored.switch_agent, "s", "human", expect=bad))
    notes: list[Any] = [1, [], {"text": "x"}, SURROGATE]
    for bad in notes:
        await refuse("note", partial(stored.switch_agent, "s", "human", note=bad))


async def test_bad_messages_and_batches_are_refused(stored: SessionManager) -> None:
    for bad in MESSAGES:
        await refuse("message", partial(stored.add_message, "s", bad))
        await refuse("messages[1]", partial(stored.add_messages, "s", [text_message(), bad]))
    for bad in BATCHES:
        await refuse("messages", partial(stored.add_messages, "s", bad))


async def test_a_text_of_one_byte_too_many_is_refused_without_being_shown(stored: SessionManager) -> None:
    for text in ("x" * (256 * 1024 + 1), "x" + "漢" * 87_382, HUGE):
        error = await refuse("message.text", partial(stored.add_message, "s", text_message(text=text)))
        assert isinstance(error, MessageTooLarge)
        assert text[:5] not in str(error)


async def test_a_str_subclass_counts_by_its_characters(manager: SessionManager) -> None:
    session = await manager.create_session(Odd("user"), {Odd("name"): Odd("value")}, session_id=Odd("own"))
    assert (session.session_id, session.user_id, session.metadata) == ("own", "user", {"name": "value"})
    assert type(session.session_id) is type(session.user_id) is str
    result = await manager.add_message("own", {"from": Odd("user"), "text": Odd("hello"), "id": Odd("m")})
    assert await manager.get_history("own") == [result.message]
    assert (result.message.text, result.message_id) == ("hello", "m")
    assert (await manager.switch_agent("own", Odd("human"), expect=Odd("ai"))).new_agent == "human"  # type: ignore[arg-type]


async def test_timestamps_of_any_zone_are_accepted(manager: SessionManager) -> None:
    await manager.create_session("u", session_id="s")
    for text in ("2026-01-01T08:00:00+08:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000+00:00"):
        result = await manager.add_message("s", text_message(timestamp=text))
        assert result.message.to_dict()["timestamp"] == "2026-01-01T00:00:00.000Z"
        assert result.message.timestamp is not None
        assert result.message.timestamp.utcoffset() == timedelta(0)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), "60", True, None.__class__])
def test_a_bad_cleanup_interval_is_a_settings_error(interval: Any) -> None:
    manager = SessionManager.from_url("sqlite:///:memory:")
    with pytest.raises(SettingsError) as refused:
        SessionCleanup(manager, interval)
    assert refused.value.variable == "CLEANUP_INTERVAL"


TEXT = "a text that nobody else may read"
TEXTS_IN_WRONG_PLACES: list[Callable[[SessionManager], Awaitable[Any]]] = [
    *(lambda m, bad=bad: m.add_message("s", bad) for bad in (TEXT, TEXT.encode(), [TEXT], {TEXT}, 1, None)),
    *(lambda m, bad=bad: m.add_messages("s", bad) for bad in (TEXT, {"from": "user", "text": TEXT}, [TEXT], {TEXT})),
    *(lambda m, bad=bad: m.switch_agent("s", "human", note=bad) for bad in ([TEXT], TEXT + "\ud800", {"text": TEXT})),
    lambda m: m.add_message("s", {"from": TEXT, "text": "user"}),
    lambda m: m.add_message("s", {"from": "user", "text": [TEXT]}),
    lambda m: m.add_message("s", {"role": "user", "content": TEXT}),
    lambda m: m.add_message("s", text_message(text=TEXT, extra=2**60)),
    lambda m: m.add_message("s", Message(sender="user", text="x", extra=TEXT)),  # type: ignore[arg-type]
    lambda m: m.add_message("s", text_message(text=TEXT * 100_000)),
    lambda m: m.add_message(text_message(text=TEXT), "s"),  # type: ignore[arg-type]
    *(lambda m, bad=bad: m.get_session(bad) for bad in ([TEXT], Message(sender="user", text=TEXT))),
    lambda m: m.create_session({"text": TEXT}),  # type: ignore[arg-type]
    lambda m: m.create_session("u", [TEXT]),  # type: ignore[arg-type]
    lambda m: m.get_history("s", limit=[TEXT]),  # type: ignore[arg-type]
    lambda m: m.add_message("s", text_message(id=[TEXT])),
    lambda m: m.add_message("s", text_message(timestamp={"text": TEXT})),
    *(lambda m, bad=bad: Desk(m).answer("s", "anna", bad) for bad in ([TEXT], TEXT.encode(), {"content": TEXT})),
    *(lambda m, bad=bad: Desk(m).note("s", "anna", bad) for bad in ([TEXT], TEXT + "\ud800", {"text": TEXT})),
    *(lambda m, bad=bad: Desk(m).request_human("s", say=bad) for bad in ([TEXT], TEXT + "\ud800", {"text": TEXT})),
    *(lambda m, bad=bad: Desk(m).request_human("s", reason=bad) for bad in ([TEXT], TEXT + "\ud800", TEXT * 100)),
    *(lambda m, bad=bad: Desk(m).hand_back("s", "anna", note=bad) for bad in ([TEXT], TEXT + "\ud800", TEXT * 500)),
    lambda m: Desk(m).answer("s", Message(sender="user", text=TEXT), "anna"),  # type: ignore[arg-type]
    lambda m: Desk(m).request_human("s", priority={"text": TEXT}),  # type: ignore[arg-type]
    lambda m: Desk(m).claim_next("anna", teams={TEXT}),  # type: ignore[arg-type]
    lambda m: Desk(m).take_over("s", "anna", expect=[TEXT]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", TEXTS_IN_WRONG_PLACES)
async def test_no_refusal_shows_the_text_of_a_message(stored: SessionManager, call: Any) -> None:
    error = await refuse("", lambda: call(stored))
    assert TEXT[:8] not in f"{error} {error!r} {vars(error)} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"role": "user", "content": "x"}, "'role' and 'content'"),
        ({"role": "user", "text": "x"}, "'role'"),
        ({"from": "user", "content": "x"}, "'content'"),
    ],
)
async def test_a_message_with_the_names_of_other_programs_is_refused_with_ours(
    stored: SessionManager, message: dict[str, Any], names: str
) -> None:
    error = await refuse("message", lambda: stored.add_message("s", message))
    assert f"got a mapping with {names}. Rename 'role' to 'from', and 'content' to 'text'" in str(error)


class Counted(list[Any]):
    """A list that counts how many entries are read, together with all other lists of this class."""

    seen = 0

    def __iter__(self) -> Iterator[Any]:
        for entry in super().__iter__():
            Counted.seen += 1
            yield entry


def test_the_checks_of_one_call_look_at_a_bounded_number_of_values() -> None:
    def nested_list(depth: int) -> Counted:
        return Counted([nested_list(depth - 1)] if depth else [])

    extra = Counted(nested_list(28) for _ in range(700))  # 41 KiB of brackets
    Counted.seen = 0
    with pytest.raises(InvalidInput, match=r"messages\[\d+\].extra.* 500,000 values, .* several calls"):
        check_messages([text_message(more=extra) for _ in range(100)], UNLIMITED)
    assert Counted.seen <= 500_000


@pytest.mark.parametrize("width", [2, 1000])
def test_lists_that_hold_one_list_many_times_are_refused_before_they_are_walked(width: int) -> None:
    shared = Counted()
    for _ in range(31):
        shared = Counted([shared] * width)  # 2^31 lists and more
    Counted.seen = 0
    with pytest.raises(InvalidInput):
        check_messages([text_message(more=shared)], UNLIMITED)
    with pytest.raises(InvalidInput):
        check_metadata({"more": shared})
    assert Counted.seen <= 2 * 4 * 65_536


async def test_messages_with_many_values_are_accepted_up_to_the_bound_and_one_by_one(manager: SessionManager) -> None:
    await manager.create_session("u", session_id="s", ttl=60)
    large = text_message(more=list(range(10_000)))
    assert len(await manager.add_messages("s", [large] * 49)) == 49
    await refuse("messages[49].extra", lambda: manager.add_messages("s", [large] * 50))
    stored = await manager.get_history("s", 100)
    assert stored[-1].extra == {"more": list(range(10_000))}
    with pytest.raises(SessionExists):  # restoring stores what many calls stored: it has no such bound
        await Inspector(manager).restore_session(present(await manager.get_session("s")), [*stored, *stored[:1]])
