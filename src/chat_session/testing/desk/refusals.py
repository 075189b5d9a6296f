"""The contract of refusals: sessions that are not there, and arguments that are not acceptable."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from chat_session.desk import MAX_CAPACITY, MAX_NOTE, MAX_REASON, MAX_TEAM, Desk
from chat_session.errors import InvalidInput, MessageTooLarge, SessionNotFound
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.backend import Backend
from chat_session.testing.desk.scene import DeskFixture, create, let_wait, waiting_ids
from chat_session.testing.waiting import until_dead

SURROGATE = "a\ud800b"
OPERATORS: tuple[Any, ...] = (
    "",
    " ",
    "\u3000",
    "u" * 257,
    "a\nb",
    "a\x00",
    "\x85",
    "\u2028",
    SURROGATE,
    None,
    1,
    b"u",
    ["u"],
)
TEAMS: tuple[Any, ...] = ("", " ", "x" * (MAX_TEAM + 1), "a\nb", "a\x00", "\u2029", SURROGATE, 1, True, b"t", ["t"])
FLAGS: tuple[Any, ...] = (None, 0, 1, "true", [])
LONG_TEXTS: tuple[Any, ...] = ("", SURROGATE, 1, True, b"x", ["x"], {"text": "x"})

BAD_FIELDS: tuple[dict[str, Any], ...] = (
    *({"from": "user"}, {"from": "assistant"}, {"sender": "system"}, {"author": "ben"}, {"author": 1}),
    *({"internal": True}, {"type": "retracted"}, {"type": "unreadable"}, {"id": ""}, {"timestamp": "yesterday"}),
)

WRITES: dict[str, Callable[[Desk, Any], Awaitable[Any]]] = {
    "request_human": lambda desk, session_id: desk.request_human(session_id, reason="x", priority=9, say="x"),
    "take_over": lambda desk, session_id: desk.take_over(session_id, "anna"),
    "answer": lambda desk, session_id: desk.answer(session_id, "anna", "x"),
    "note": lambda desk, session_id: desk.note(session_id, "anna", "x"),
    "transfer": lambda desk, session_id: desk.transfer(session_id, "anna", to="ben"),
    "transfer to a team": lambda desk, session_id: desk.transfer(session_id, "anna", team="sales"),
    "decline": lambda desk, session_id: desk.decline(session_id, "anna"),
    "hand_back": lambda desk, session_id: desk.hand_back(session_id, "anna", say="x"),
}


def _each(values: Iterable[Any], argument: str, method: str, **others: Any) -> list[tuple[str, dict[str, Any]]]:
    """A call of the method, as its name and its arguments, with each of the values."""
    return [(method, {**others, argument: value}) for value in values]


STEP: dict[str, Any] = {"session_id": "s", "operator_id": "anna"}
BAD_CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "operator_id": [
        *_each(OPERATORS, "operator_id", "claim_next"),
        *_each(OPERATORS, "operator_id", "take_over", session_id="s"),
        *_each(OPERATORS, "operator_id", "answer", session_id="s", message="x"),
        *_each(OPERATORS, "operator_id", "note", session_id="s", text="x"),
        *_each(OPERATORS, "operator_id", "transfer", session_id="s", to="ben"),
        *_each(OPERATORS, "operator_id", "decline", session_id="s"),
        *_each(OPERATORS, "operator_id", "hand_back", session_id="s"),
        *_each(OPERATORS, "operator_id", "operator_seen"),
        *_each((bad for bad in OPERATORS if bad is not None), "operator_id", "assigned"),
    ],
    "to": [
        *_each((*OPERATORS, "anna"), "to", "transfer", **STEP),  # None: nothing is given; "anna": to oneself
        ("transfer", {**STEP, "to": "ben", "team": "sales"}),
    ],
    "team": [
        *_each(TEAMS, "team", "request_human", session_id="s"),
        *_each(TEAMS, "team", "transfer", **STEP),
        *_each(TEAMS, "team", "waiting"),
    ],
    "teams": [
        *_each(("sales", "", b"sales", None, 1, {"sales"}, True), "teams", "claim_next", operator_id="anna"),
        *_each((["sales", bad] for bad in (*TEAMS, None)), "teams", "claim_next", operator_id="anna"),
        *_each((iter(["sales"]), {"sales": 1}), "teams", "claim_next", operator_id="anna"),
    ],
    "reason": _each((*LONG_TEXTS, "x" * (MAX_REASON + 1)), "reason", "request_human", session_id="s"),
    "priority": _each((-1, 10, 10**30, True, 1.0, "1", None, b"1"), "priority", "request_human", session_id="s"),
    "hold_ai": _each(FLAGS, "hold_ai", "request_human", session_id="s"),
    "say": [
        *_each(LONG_TEXTS[1:], "say", "request_human", session_id="s"),
        *_each(LONG_TEXTS[1:], "say", "hand_back", **STEP),
    ],
    "expect": _each(("", "open", "Waiting", -1, True, 1.5, 2**53, b"waiting", []), "expect", "take_over", **STEP),
    "polite": _each(FLAGS, "polite", "answer", **STEP, message="x"),
    "message": [
        *_each((None, 1, b"x", [], {}, SURROGATE), "message", "answer", **STEP),
        *_each(({"text": "x", **bad} for bad in BAD_FIELDS), "message", "answer", **STEP),
        *_each([Message(sender="user", text="x")], "message", "answer", **STEP),
    ],
    "note": [
        *_each(LONG_TEXTS[1:], "text", "note", **STEP),
        *_each((*LONG_TEXTS, "x" * (MAX_NOTE + 1)), "note", "transfer", **STEP, to="ben"),
        *_each((*LONG_TEXTS, "x" * (MAX_NOTE + 1)), "note", "hand_back", **STEP),
    ],
    "resolved": _each(FLAGS, "resolved", "hand_back", **STEP),
    "capacity": _each((-1, MAX_CAPACITY + 1, True, 1.0, "5", []), "capacity", "operator_seen", operator_id="anna"),
    "available": _each(FLAGS, "available", "operator_seen", operator_id="anna"),
    "limit": _each((0, -1, True, 10_001, 1.5, "5", None), "limit", "waiting"),
    "cursor": _each((1, b"x", [], SURROGATE, "x" * 3000), "cursor", "waiting"),
}


class DeskRefusalContract(DeskFixture):
    """SessionNotFound and InvalidInput."""

    @pytest.mark.parametrize("name", WRITES)
    async def test_no_step_is_taken_on_a_session_that_is_not_there(
        self, manager: SessionManager, desk: Desk, name: str
    ) -> None:
        await create(manager, "deleted")
        await manager.delete_session("deleted")
        for session_id in ("never", "deleted"):
            with pytest.raises(SessionNotFound) as refused:
                await WRITES[name](desk, session_id)
            assert refused.value.session_id == session_id
            assert await manager.get_session(session_id) is None
        assert await waiting_ids(manager) == []
        assert await desk.assigned() == []
        figures = (await desk.stats()).hour
        assert (figures.requests, figures.takeovers, figures.sessions_handled) == (0, {}, 0)

    async def test_no_step_brings_a_dead_session_back(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s", ttl=1)
        await until_dead(manager, "s")
        for write in WRITES.values():
            with pytest.raises(SessionNotFound):
                await write(desk, "s")
        assert await manager.get_session("s") is None
        assert await manager.get_active_sessions_count() == 0

    @pytest.mark.parametrize("argument", BAD_CALLS)
    async def test_an_argument_that_is_not_acceptable_is_refused_by_its_name_and_nothing_is_written(
        self, manager: SessionManager, desk: Desk, backend: Backend, argument: str
    ) -> None:
        await let_wait(manager, "s")
        await desk.take_over("s", "anna")
        before = await backend.digest(manager)
        for method, arguments in BAD_CALLS[argument]:
            with pytest.raises(InvalidInput) as refused:
                await getattr(desk, method)(**arguments)
            assert refused.value.argument.startswith(argument)
            assert len(str(refused.value)) < 500
        assert await backend.digest(manager) == before

    async def test_bad_session_ids_are_refused_by_every_step(
        self, manager: SessionManager, desk: Desk, backend: Backend
    ) -> None:
        await create(manager, "s")
        before = await backend.digest(manager)
        bad_ids: tuple[Any, ...] = ("", " ", "a b", "a/b", "{s}", "s\n", "x" * 129, SURROGATE, None, 1, b"s", True)
        for bad in bad_ids:
            for write in WRITES.values():
                with pytest.raises(InvalidInput) as refused:
                    await write(desk, bad)
                assert refused.value.argument == "session_id"
            with pytest.raises(InvalidInput, match="session_id"):
                await manager.check_epoch(bad, 0)
        bad_epochs: tuple[Any, ...] = (-1, True, 1.5, "0", None, 2**53)
        for bad in bad_epochs:
            with pytest.raises(InvalidInput, match="epoch"):
                await manager.check_epoch("s", bad)
        assert await backend.digest(manager) == before

    async def test_a_text_that_is_too_large_is_refused_without_being_shown(
        self, manager: SessionManager, desk: Desk, backend: Backend
    ) -> None:
        await create(manager, "s")
        before = await backend.digest(manager)
        text = "secret" * 50_000
        for call in (
            desk.request_human("s", say=text),
            desk.answer("s", "anna", text),
            desk.note("s", "anna", text),
            desk.hand_back("s", "anna", say=text),
        ):
            with pytest.raises(MessageTooLarge) as refused:
                await call
            assert "secret" not in str(refused.value)
        assert await backend.digest(manager) == before

    async def test_arguments_at_their_limits_are_accepted(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        operator, team = "漢" * 256, "😀" * MAX_TEAM
        await desk.request_human("s", reason="漢" * MAX_REASON, priority=9, team=team, say="")
        assert (await desk.operator_seen(operator, capacity=MAX_CAPACITY)).capacity == MAX_CAPACITY
        session = await desk.claim_next(operator, teams=[team])
        assert session is not None
        assert (session.desk.operator_id, session.desk.team) == (operator, team)
        assert session.desk.reason == "漢" * MAX_REASON
        await desk.note("s", operator, "漢" * MAX_NOTE)
        await desk.transfer("s", operator, team=team, note="漢" * MAX_NOTE)
        session = await desk.hand_back("s", operator, note="漢" * MAX_NOTE, say="")
        assert session.desk.state == "open"
