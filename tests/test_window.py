"""What goes to a model: whatever happened in a session, the providers accept the window."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat_session import Message, SessionManager
from chat_session.window import Budget, choose_window, count_tokens

UNLIMITED = Budget(None, None)
BOUND = 30  # messages that the sessions here keep


def user(text: str = "", *, internal: bool = False, tokens: int | None = None) -> Message:
    return Message(sender="user", text=text, internal=internal, tokens=tokens)


def call(*ids: str, internal: bool = False, tokens: int | None = None) -> Message:
    return Message(sender="assistant", text="", calls=ids, internal=internal, tokens=tokens)


def answer(*ids: str, internal: bool = False, tokens: int | None = None) -> Message:
    return Message(sender="tool", text="", answers=ids, internal=internal, tokens=tokens)


_IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True).map(tuple)
_MESSAGES = st.builds(
    lambda make, ids, text, internal, tokens: (
        user(text, internal=internal, tokens=tokens) if make is user else make(*ids, internal=internal, tokens=tokens)
    ),
    st.sampled_from([user, call, call, answer, answer, answer]),
    _IDS,
    st.text("xé", max_size=9),
    st.booleans(),
    st.none() | st.integers(0, 5),
)


@st.composite
def _histories(draw: st.DrawFn) -> list[Message]:
    """Calls that are mostly answered, with others' messages in between, and whatever else may happen."""
    history: list[Message] = []
    waiting: list[str] = []
    for number in range(draw(st.integers(0, 16))):
        match draw(st.sampled_from(["any", "user", "call", "answer", "answer"])):
            case "any":
                history.append(draw(_MESSAGES))
            case "user":
                history.append(user(internal=draw(st.booleans()), tokens=draw(st.none() | st.integers(0, 5))))
            case "call":
                ids = [f"{number}.{i}" for i in range(draw(st.integers(1, 3)))]
                waiting += ids
                history.append(call(*ids, internal=draw(st.booleans())))
            case _ if waiting:
                ids = draw(st.lists(st.sampled_from(waiting), min_size=1, max_size=3, unique=True))
                waiting = [each for each in waiting if each not in ids]
                history.append(answer(*ids, internal=draw(st.booleans()), tokens=draw(st.none() | st.integers(0, 5))))
    return [Message(**{**_fields(message), "id": f"m{i}", "seq": i + 1}) for i, message in enumerate(history)]


def _fields(message: Message) -> dict[str, Any]:
    names = ("sender", "text", "calls", "answers", "tokens", "internal")
    return {name: getattr(message, name) for name in names}


_BUDGETS = st.builds(Budget, st.none() | st.integers(1, 8), st.none() | st.integers(0, 20))


def find_refusal(window: Iterable[Message]) -> str | None:
    """Why a provider would refuse this history; None if it would not. A call at the end may still be in progress."""
    waiting: set[str] = set()
    for message in window:
        if not waiting.issuperset(message.answers):
            return f"{message.id} answers what was not called, or was answered before"
        if waiting and not message.answers:
            return f"{message.id} stands between a call and its answers"
        waiting -= set(message.answers)
        waiting |= set(message.calls)
    return None


def split_groups(window: Iterable[Message]) -> list[list[Message]]:
    """Each message with the answers behind it."""
    groups: list[list[Message]] = []
    for message in window:
        if message.answers:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def find_clean_groups(history: Sequence[Message]) -> list[set[str]]:
    """The ids of each call and its answers, where there is no doubt: its ids are called once, and answered once."""
    called = Counter(each for message in history for each in message.calls)
    answered = Counter(each for message in history for each in message.answers)
    clean = []
    for place, message in enumerate(history):
        ids = set(message.calls)
        if not ids or message.answers or any(called[each] != 1 or answered[each] != 1 for each in ids):
            continue
        answers = [other for other in history[place + 1 :] if ids & set(other.answers)]
        if ids == {each for other in answers for each in other.answers} and not any(other.calls for other in answers):
            clean.append({message.id or "", *(other.id or "" for other in answers)})
    return clean


@settings(max_examples=400)
@given(history=_histories(), budget=_BUDGETS)
def test_a_window_of_any_history_is_accepted_and_in_its_budgets(history: list[Message], budget: Budget) -> None:
    window = choose_window(history, budget).messages
    assert find_refusal(window) is None
    assert budget.messages is None or len(window) <= budget.messages
    assert budget.tokens is None or sum(map(count_tokens, window)) <= budget.tokens
    assert len({message.id for message in window}) == len(window)


@settings(max_examples=400)
@given(history=_histories())
def test_a_window_without_budgets_has_all_that_may_stand_in_one(history: list[Message]) -> None:
    window = choose_window(history, UNLIMITED).messages
    kept = {message.id or "" for message in window}
    assert {message.id for message in history if not message.calls and not message.answers} <= kept
    for group in find_clean_groups(history):
        assert group <= kept, f"{group} was left out of {[message.id for message in window]}"
    if history and history[-1].calls and not history[-1].answers:
        assert window[-1] is history[-1], "a call that is in progress was left out"
    heads = [message for message in window if not message.answers]
    assert heads == sorted(heads, key=lambda message: message.seq or 0)


@settings(max_examples=400)
@given(history=_histories(), budget=_BUDGETS)
def test_a_window_ends_at_the_first_group_that_does_not_fit(history: list[Message], budget: Budget) -> None:
    window = choose_window(history, budget)
    everything = split_groups(choose_window(history, UNLIMITED).messages)
    chosen = split_groups(window.messages)
    assert chosen == everything[len(everything) - len(chosen) :]
    if len(chosen) < len(everything):
        one_more = [*everything[len(everything) - len(chosen) - 1], *window.messages]
        too_many = budget.messages is not None and len(one_more) > budget.messages
        too_large = budget.tokens is not None and sum(map(count_tokens, one_more)) > budget.tokens
        assert too_many or too_large
        assert window.is_full


@settings(max_examples=400)
@given(history=_histories(), budget=_BUDGETS, data=st.data())
def test_a_full_window_of_the_newest_messages_is_that_of_all(
    history: list[Message], budget: Budget, data: st.DataObject
) -> None:
    newest = history[data.draw(st.integers(0, len(history))) :]
    window = choose_window(newest, budget)
    if window.is_full:
        assert window.messages == choose_window(history, budget).messages


def test_a_takeover_between_a_call_and_its_answer_comes_behind_the_answer() -> None:
    history = [user("1"), call("a"), Message(sender="operator", text="2"), answer("a"), user("3")]
    expected = [history[0], history[1], history[3], history[2], history[4]]
    assert choose_window(history, UNLIMITED).messages == expected


def test_a_call_without_its_answers_stays_only_where_nothing_but_answers_follows() -> None:
    begun = [user("1"), call("a", "b"), answer("a")]
    assert choose_window(begun, UNLIMITED).messages == begun
    assert choose_window([*begun, user("2")], UNLIMITED).messages == [user("1"), user("2")]
    assert choose_window([*begun, answer("nobody's")], UNLIMITED).messages == [user("1")]
    assert choose_window([*begun, user("2"), answer("b")], UNLIMITED).messages == [*begun, answer("b"), user("2")]


def test_a_message_that_answers_several_calls_is_kept_whole_or_left_out_whole() -> None:
    both = [call("a", "b"), answer("a", "b")]
    assert choose_window(both, UNLIMITED).messages == both
    assert choose_window(both, Budget(1, None)).messages == []
    assert choose_window([call("a"), call("b"), answer("a", "b"), user("x")], UNLIMITED).messages == [user("x")]
    assert choose_window([call("b"), answer("a", "b")], UNLIMITED).messages == []


def test_a_message_without_a_count_has_a_token_for_four_bytes() -> None:
    assert [count_tokens(Message(sender="user", text=text)) for text in ("", "x", "xxxx", "漢漢")] == [0, 1, 1, 2]
    assert count_tokens(Message(sender="user", text="x" * 100, content=[1, 2, 3])) == 2
    assert count_tokens(Message(sender="user", text="x" * 100, tokens=0)) == 0


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("retract"), st.integers(0, 20)),
        st.tuples(st.just("pop"), st.integers(1, 3)),
        st.tuples(st.just("append"), _MESSAGES),
        st.tuples(st.just("takeover"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=4,
)


@settings(max_examples=60)
@given(history=_histories(), steps=_STEPS, budget=_BUDGETS, include_internal=st.booleans())
@example(history=[user()] * 2 + [call("a")] + [user()] * 9, steps=[], budget=Budget(1, None), include_internal=True)
async def test_a_window_of_a_session_is_that_of_its_whole_history(
    history: list[Message], steps: list[tuple[str, object]], budget: Budget, *, include_internal: bool
) -> None:
    async with SessionManager.from_url("sqlite:///:memory:", max_message_history=BOUND) as manager:
        session_id = (await manager.create_session("u")).session_id
        if history:
            named = [Message(**{**_fields(message), "id": f"m{i}"}) for i, message in enumerate(history)]
            await manager.add_messages(session_id, named)
        for number, (step, fact) in enumerate(steps):
            match step, fact:
                case "retract", int(place):
                    await manager.retract_message(session_id, f"m{place}")
                case "pop", int(count):
                    await manager.pop_messages(session_id, count)
                case "append", Message() as message:
                    await manager.add_message(session_id, Message(**{**_fields(message), "id": f"later{number}"}))
                case "takeover", _:
                    await manager.switch_agent(session_id, "human", note="a person takes over")
                case _:
                    await manager.clear_history(session_id)
        window = await manager.get_window(
            session_id, messages=budget.messages, tokens=budget.tokens, include_internal=include_internal
        )
        visible = await manager.get_history(session_id, 1000, include_internal=include_internal)
        assert window == choose_window(visible, budget).messages
        assert find_refusal(window) is None


async def test_a_window_with_tokens_alone_is_read_in_pages() -> None:
    async with SessionManager.from_url("sqlite:///:memory:", max_message_history=500) as manager:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [user(str(i), tokens=1) for i in range(500)])
        for tokens in (0, 1, 49, 50, 51, 149, 150, 151, 400, 499, 500, 501):
            window = await manager.get_window(session_id, tokens=tokens)
            assert [message.text for message in window] == [str(i) for i in range(500 - min(tokens, 500), 500)]


@pytest.mark.parametrize("bound", range(1, 12))
async def test_trimming_at_any_bound_leaves_a_history_that_a_provider_accepts(bound: int) -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        session_id = (await manager.create_session("u", max_history=bound)).session_id
        for turn in range(5):
            ids = [f"{turn}.{i}" for i in range(3)]
            answers = [answer(ids[0]), user("meanwhile"), answer(*ids[1:])]
            await manager.add_messages(session_id, [user(str(turn)), call(*ids), *answers])
            window = await manager.get_window(session_id)
            assert find_refusal(window) is None
            assert len(window) <= bound
