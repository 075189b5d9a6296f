"""The session service of Google ADK: what the framework asks of one, and what this one adds."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("google.adk")

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event, EventActions
from google.adk.sessions import Session as AdkSession
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from chat_session import AgentConflict, InvalidInput, Message, MessageConflict, SessionManager
from chat_session.adapters.adk import ManagedSessionService

pytestmark = pytest.mark.filterwarnings("ignore")

ANN: dict[str, Any] = {"app_name": "shop", "user_id": "ann"}
SESSION_ID = "shop:ann:s1"


@pytest.fixture
def service(manager: SessionManager) -> ManagedSessionService:
    return ManagedSessionService(manager)


async def start(service: ManagedSessionService, *, session_id: str, state: dict[str, Any] | None = None) -> AdkSession:
    return await service.create_session(app_name="shop", user_id="ann", session_id=session_id, state=state)


@pytest.fixture
async def session(service: ManagedSessionService) -> AdkSession:
    return await start(service, session_id="s1")


def said(text: str, author: str = "user", **fields: Any) -> Event:
    role = "user" if author == "user" else "model"
    content = types.Content(role=role, parts=[types.Part(text=text)])
    return Event(author=author, invocation_id="i1", content=content, **fields)


def called(call_id: str) -> Event:
    part = types.Part(function_call=types.FunctionCall(id=call_id, name="f", args={}))
    return Event(author="helper", invocation_id="i1", content=types.Content(role="model", parts=[part]))


def answered(call_id: str, result: str = "ok") -> Event:
    part = types.Part(function_response=types.FunctionResponse(id=call_id, name="f", response={"r": result}))
    return Event(author="helper", invocation_id="i1", content=types.Content(role="user", parts=[part]))


def changed(**state: Any) -> Event:
    delta = {key.replace("__", ":"): value for key, value in state.items()}
    return Event(author="helper", invocation_id="i1", actions=EventActions(state_delta=delta))


async def read(service: ManagedSessionService, session_id: str = "s1", **config: Any) -> AdkSession:
    found = await service.get_session(**ANN, session_id=session_id, config=GetSessionConfig(**config))
    assert found is not None
    return found


def texts(session: AdkSession) -> list[str]:
    return [part.text or "" for event in session.events if event.content for part in event.content.parts or []]


# Sessions


async def test_a_session_that_was_created_is_read_equal(service: ManagedSessionService) -> None:
    state = {"a": 1, "user:b": [2], "app:c": {"d": None}, "temp:e": 5}
    created = await start(service, session_id="s1", state=state)
    assert created.state == {"a": 1, "user:b": [2], "app:c": {"d": None}}
    assert await read(service) == created
    assert await service.get_user_state(**ANN) == {"b": [2]}


async def test_a_session_of_a_taken_id_is_refused_and_changes_nothing(service: ManagedSessionService) -> None:
    await start(service, session_id="s1", state={"a": 1, "user:b": 1})
    with pytest.raises(AlreadyExistsError):
        await start(service, session_id=" s1 ", state={"a": 2, "user:b": 2})
    assert (await read(service)).state == {"a": 1, "user:b": 1}


async def test_a_session_whose_state_is_refused_is_not_left_behind(service: ManagedSessionService) -> None:
    with pytest.raises(InvalidInput):
        await start(service, session_id="s1", state={"user:b": "x" * 70_000})
    assert await service.get_session(**ANN, session_id="s1") is None


async def test_sessions_of_one_id_belong_to_their_app_and_user(service: ManagedSessionService) -> None:
    triples = [("a:b", "c", "d"), ("a", "b:c", "d"), ("a", "b", "c:d"), ("Ä ö", "=~/", "x" * 300)]
    for app, user, session_id in triples:
        await service.create_session(app_name=app, user_id=user, session_id=session_id, state={"is": [app, user]})
    for app, user, session_id in triples:
        found = await service.get_session(app_name=app, user_id=user, session_id=session_id)
        assert found is not None
        assert (found.app_name, found.user_id, found.id, found.state) == (app, user, session_id, {"is": [app, user]})
        [listed] = (await service.list_sessions(app_name=app, user_id=user)).sessions
        assert listed.id == session_id
    everyone = (await service.list_sessions(app_name="a")).sessions
    assert {(each.user_id, each.id) for each in everyone} == {("b:c", "d"), ("b", "c:d")}
    [hashed] = (await service.list_sessions(app_name="Ä ö")).sessions
    assert (hashed.user_id, hashed.id) == ("=~/", "x" * 300)


async def test_a_list_has_the_state_without_events_and_ends_with_the_session_updated_last(
    service: ManagedSessionService, manager: SessionManager
) -> None:
    for name in ("a", "b", "c"):
        await start(service, session_id=name, state={"name": name, "user:u": 1})
    await service.create_session(app_name="shop", user_id="ben", session_id="d", state={"app:v": 2})
    await manager.create_session("shop:ann", session_id="not-of-adk")
    first = await read(service, "a")
    await service.append_event(first, said("Hi", timestamp=first.last_update_time + 60))
    listed = (await service.list_sessions(**ANN)).sessions
    assert [(each.id, each.events) for each in listed] == [("b", []), ("c", []), ("a", [])]
    assert listed[0].state == {"name": "b", "user:u": 1, "app:v": 2}
    everyone = (await service.list_sessions(app_name="shop")).sessions
    assert {(each.user_id, each.id) for each in everyone} == {("ann", "a"), ("ann", "b"), ("ann", "c"), ("ben", "d")}
    assert everyone[-1].id == "a"
    assert (await service.list_sessions(app_name="none")).sessions == []


async def test_a_deleted_session_is_gone_and_the_users_state_stays(service: ManagedSessionService) -> None:
    session = await start(service, session_id="s1", state={"user:u": 1})
    await service.delete_session(**ANN, session_id="s1")
    await service.delete_session(**ANN, session_id="s1")
    assert await service.get_session(**ANN, session_id="s1") is None
    assert await service.get_user_state(**ANN) == {"u": 1}
    with pytest.raises(SessionNotFoundError):
        await service.append_event(session, said("Hi"))


async def test_nothing_is_appended_to_a_session_that_was_never_created(
    service: ManagedSessionService, manager: SessionManager
) -> None:
    with pytest.raises(SessionNotFoundError):
        await service.append_event(AdkSession(app_name="shop", user_id="ann", id="s1"), said("Hi"))
    assert await manager.get_active_sessions_count() == 0


async def test_a_new_session_has_the_bound_and_the_lifetime_that_the_service_was_given(manager: SessionManager) -> None:
    service = ManagedSessionService(manager, max_history=3, ttl_seconds=None)
    session = await start(service, session_id="s1")
    for n in range(5):
        await service.append_event(session, said(str(n)))
    assert texts(await read(service)) == ["2", "3", "4"]
    assert await manager.get_session_ttl(SESSION_ID) == -1


# Events


async def test_an_event_is_read_equal_and_the_manager_reads_its_text(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    for event in (said("Hi"), called("c1"), answered("c1"), said("Hello", "helper", timestamp=1700000000.123)):
        await service.append_event(session, event)
    assert await read(service) == session
    assert session.last_update_time == 1700000000.123
    visible = await manager.get_history(SESSION_ID)
    assert [(each.sender, each.author, each.text) for each in visible] == [
        ("user", None, "Hi"),
        ("assistant", "helper", "Hello"),
    ]
    window = await manager.get_window(SESSION_ID)
    assert [each.calls or each.answers for each in window] == [(), ("c1",), ("c1",), ()]


async def test_an_event_that_is_sent_again_is_stored_once(service: ManagedSessionService, session: AdkSession) -> None:
    event = changed(count=1)
    for sent in (event, event, event.model_copy(deep=True)):
        await service.append_event(session, sent)
    await service.append_event(session, changed(count=2))
    await service.append_event(session, event)
    await service.append_event(session, said("the session is not stale"))
    assert [each.id for each in (await read(service)).events] == [each.id for each in session.events]
    assert len(session.events) == 3
    assert (await read(service)).state == session.state == {"count": 2}


async def test_another_event_of_a_known_id_is_refused(service: ManagedSessionService, session: AdkSession) -> None:
    await service.append_event(session, said("Hi", id="e1"))
    with pytest.raises(MessageConflict):
        await service.append_event(session, said("Ho", id="e1"))
    assert texts(session) == ["Hi"]


async def test_a_partial_event_is_not_stored(service: ManagedSessionService, session: AdkSession) -> None:
    await service.append_event(session, said("He", "helper", partial=True))
    assert session.events == (await read(service)).events == []


async def test_only_the_events_that_were_asked_for_are_read(
    service: ManagedSessionService, session: AdkSession
) -> None:
    for n in range(450):
        await service.append_event(session, said(str(n), timestamp=1000.0 + n))
    newest = [str(n) for n in range(350, 450)]  # the bound of 100 messages
    assert texts(await read(service)) == newest
    assert texts(await read(service, num_recent_events=0)) == []
    assert texts(await read(service, num_recent_events=2)) == newest[-2:]
    assert texts(await read(service, after_timestamp=1447.0)) == newest[-3:]
    assert texts(await read(service, after_timestamp=1447.5, num_recent_events=1)) == newest[-1:]
    assert texts(await read(service, after_timestamp=1447.5, num_recent_events=50)) == newest[-2:]
    assert texts(await read(service, after_timestamp=9999.0)) == []


async def test_a_time_far_back_is_found_page_by_page(manager: SessionManager) -> None:
    service = ManagedSessionService(manager, max_history=1000)
    session = await start(service, session_id="s1")
    for n in range(450):
        await service.append_event(session, said(str(n), timestamp=1000.0 + n))
    assert texts(await read(service, after_timestamp=1010.0)) == [str(n) for n in range(10, 450)]
    assert len((await read(service, after_timestamp=1.0)).events) == 450


async def test_an_answer_whose_call_was_trimmed_is_left_out_and_a_second_answer_stays(manager: SessionManager) -> None:
    service = ManagedSessionService(manager, max_history=5)
    session = await start(service, session_id="s1")
    for event in (called("c0"), called("c1"), answered("c0"), answered("c1", "pending"), said("Hi")):
        await service.append_event(session, event)
    await service.append_event(session, answered("c1", "done"))
    found = [each.model_dump() for each in (await read(service)).events]
    assert found == [session.events[i].model_dump() for i in (1, 3, 4, 5)]


# State


async def test_state_is_stored_with_the_event_for_the_session_the_user_and_the_app(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    await service.append_event(session, changed(a=1, user__b=2, app__c=None, temp__d=4))
    assert session.state == {"a": 1, "user:b": 2, "app:c": None, "temp:d": 4}
    assert (await read(service)).state == {"a": 1, "user:b": 2, "app:c": None}
    other = await start(service, session_id="s2")
    assert other.state == {"user:b": 2, "app:c": None}
    stranger = await service.create_session(app_name="shop", user_id="ben")
    assert stranger.state == {"app:c": None}
    assert (await manager.get_state("user:shop:ann")) == {"b": 2}
    [event] = (await read(service)).events
    assert event.actions.state_delta == {"a": 1, "user:b": 2, "app:c": None}


async def test_a_value_replaces_the_one_before_and_the_rest_stays(
    service: ManagedSessionService, session: AdkSession
) -> None:
    odd = {"userId": "x", "ttl": None, "cs:revision": 2**70, "n" * 100: [float("inf")], "": "empty", "adk:last": 0}
    await service.append_event(session, changed(profile={"name": "Ada", "role": "admin"}, flag=True, **odd))
    await service.append_event(session, changed(profile={"name": "Bob"}, flag=None))
    assert (await read(service)).state == {"profile": {"name": "Bob"}, "flag": None, **odd}


async def test_what_the_application_keeps_in_the_metadata_is_state_and_the_other_way_round(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    await manager.update_session(SESSION_ID, {"plan": "gold"})
    await service.append_event(session, changed(city="Rome"))
    stored = await manager.get_session(SESSION_ID)
    assert stored is not None
    assert stored.metadata["city"] == "Rome"
    assert (await read(service)).state == {"plan": "gold", "city": "Rome"}


async def test_an_event_whose_state_is_over_the_limits_is_not_stored(
    service: ManagedSessionService, session: AdkSession
) -> None:
    with pytest.raises(InvalidInput):
        await service.append_event(session, changed(a="x" * 70_000))
    assert session == await read(service)
    await service.append_event(session, changed(a="x"))
    assert (await read(service)).state == {"a": "x"}


# Takeover, and other writers


async def test_an_event_computed_before_a_takeover_is_refused_and_nothing_of_it_is_stored(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    await service.append_event(session, said("Hi"))
    copies = [session.model_copy(), session.model_copy(deep=True)]
    await manager.switch_agent(SESSION_ID, "human", note="Mei took over")
    for each in (session, *copies):
        with pytest.raises(AgentConflict) as refused:
            await service.append_event(each, said("too late", "helper", actions=EventActions(state_delta={"a": 1})))
        assert [message.text for message in refused.value.messages] == ["too late"]
        assert texts(each) == ["Hi"]
        assert each.state == {}
    again = await read(service)
    assert texts(again) == ["Hi", "Mei took over"]
    assert again.state == {}
    await service.append_event(again, said("I have read that", "helper"))


async def test_the_fence_can_be_turned_off_or_pinned(manager: SessionManager) -> None:
    service = ManagedSessionService(manager, epoch=False)
    session = await start(service, session_id="s1")
    await manager.switch_agent(SESSION_ID, "human")
    await service.append_event(session, said("Hi"))
    pinned = ManagedSessionService(manager, epoch=0)
    with pytest.raises(AgentConflict):
        await pinned.append_event(await read(pinned), said("Ho"))
    await ManagedSessionService(manager, epoch=1).append_event(session, said("Ho"))


async def test_a_result_that_a_takeover_refused_is_kept_as_internal(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    await service.append_event(session, called("c1"))
    await manager.switch_agent(SESSION_ID, "human")
    with pytest.raises(AgentConflict) as refused:
        await service.append_event(session, answered("c1"))
    await manager.add_unanswered(refused.value)
    assert [each.answers for each in await manager.get_history(SESSION_ID, include_internal=True)] == [(), ("c1",)]
    assert await manager.get_history(SESSION_ID) == []
    assert len((await read(service)).events) == 2


async def test_what_a_person_and_another_framework_said_stands_among_the_events(
    service: ManagedSessionService, session: AdkSession, manager: SessionManager
) -> None:
    await service.append_event(session, said("Hi"))
    await service.append_event(session, called("c1"))
    await manager.add_message(SESSION_ID, Message(sender="operator", author="Mei", text="I look at it, too"))
    item = {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}
    await manager.add_message(
        SESSION_ID, Message(sender="assistant", text="", format="openai.item/1", content=item, internal=True)
    )
    await service.append_event(session, answered("c1"))
    events = (await read(service)).events
    assert [(event.author, bool(event.get_function_calls() or event.get_function_responses())) for event in events] == [
        ("user", False),
        ("helper", True),
        ("helper", True),
        ("Mei", False),
    ]


async def test_a_run_whose_session_another_run_has_changed_is_refused(service: ManagedSessionService) -> None:
    await start(service, session_id="s1")
    for n in range(4):
        one, other = await read(service), await read(service)
        outcomes = await asyncio.gather(
            service.append_event(one, changed(**{f"one{n}": 1})),
            service.append_event(other, changed(**{f"other{n}": 1})),
            return_exceptions=True,
        )
        assert sorted(isinstance(outcome, StaleSessionError) for outcome in outcomes) == [False, True]
    found = await read(service)
    assert len(found.events) == len(found.state) == 4


async def test_two_appends_of_one_session_object_at_once_are_both_stored(
    service: ManagedSessionService, session: AdkSession
) -> None:
    await asyncio.gather(*(service.append_event(session, said(str(n))) for n in range(20)))
    assert texts(await read(service)) == texts(session) == [str(n) for n in range(20)]


async def test_runs_at_once_are_both_stored_where_stale_sessions_are_not_checked(manager: SessionManager) -> None:
    service = ManagedSessionService(manager, check_stale=False)
    session = await start(service, session_id="s1")
    other = await read(service)
    await service.append_event(session, said("one"))
    await service.append_event(other, said("other"))
    assert texts(await read(service)) == ["one", "other"]


async def test_a_session_object_without_a_marker_is_known_by_its_time_and_its_last_event(
    service: ManagedSessionService, session: AdkSession
) -> None:
    await service.append_event(session, said("Hi"))
    sent = AdkSession.model_validate(session.model_dump())
    sent.last_update_time -= 0.001
    await service.append_event(sent, said("from afar"))
    late = AdkSession.model_validate(session.model_dump())
    with pytest.raises(StaleSessionError):
        await service.append_event(late, said("stale"))
    assert texts(await read(service)) == ["Hi", "from afar"]
    of_another_service = await read(service)
    of_another_service._storage_update_marker = "2026-01-01T00:00:00.000000"
    await service.append_event(of_another_service, said("moved"))
