"""The manager for synchronous code."""

import inspect
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import chat_session
from chat_session import (
    AgentConflict,
    DeskConflict,
    Hooks,
    InvalidInput,
    ManagerClosed,
    SequenceConflict,
    SessionNotFound,
    StoreCorrupt,
    TurnBusy,
    TurnLost,
    blocking,
)
from testkit.backends import Backend, ServerBackend, SqliteBackend
from testkit.present import present


@pytest.fixture
def connect(backend: Backend) -> Callable[..., blocking.SessionManager]:
    return lambda **settings: blocking.SessionManager.from_url(backend.url, **{**backend.settings, **settings})


def test_the_calls_are_those_of_the_asynchronous_manager(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect() as manager:
        session = manager.create_session("user123", {"name": "客服会话"})
        result = manager.add_message(session.session_id, {"from": "user", "text": "你好"})
        assert manager.get_history(session.session_id) == [result.message]
        assert manager.switch_agent(session.session_id, "human", expect=0).epoch == 1
        assert manager.get_active_sessions_count() == 1
        with pytest.raises(SessionNotFound):
            manager.extend_session("nobody")
        assert manager.cleanup_expired_sessions().cleaned_count == 0
        assert manager.delete_session(session.session_id).success


def test_changes_of_a_history_states_and_erasure_are_offered(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect() as manager:
        assert manager.get_or_create_session("s", "u", max_history=5)[1]
        manager.add_messages(
            "s", [{"id": i, "from": "user", "text": i} for i in "abcd"], expect_seq=0, metadata={"n": 1}
        )
        assert manager.retract_message("s", "b").success
        assert [message.id for message in manager.pop_messages("s", 2)] == ["c", "d"]
        assert [message.id for message in manager.get_window("s", messages=3)] == ["a"]
        assert len(blocking.Inspector(manager).get_stored_history("s")) == 4
        assert manager.increment("s", "n") == 2
        with pytest.raises(SequenceConflict):
            manager.delete_session("s", expect_revision=0)
        assert manager.fork_session("s", new_id="f").message_count == 4
        assert manager.clear_history("s") == 1
        assert manager.update_state("user:u", {"a": 1}) == manager.get_state("user:u")
        erased = manager.erase_user("u")
        assert (erased.sessions, erased.state_entries) == (2, 1)


def test_the_desk_is_that_of_the_asynchronous_manager(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s")
        desk = blocking.Desk(manager)
        manager.check_epoch("s", 0)
        assert desk.request_human("s", team="billing", say="One moment, please.").place == 1
        with pytest.raises(AgentConflict):
            manager.check_epoch("s", 0)
        assert [entry.session_id for entry in desk.waiting(team="billing")] == ["s"]
        assert desk.operator_seen("ann", capacity=3).capacity == 3
        assert present(desk.claim_next("ann", teams=["billing"])).desk.operator_id == "ann"
        with pytest.raises(DeskConflict) as refused:
            desk.answer("s", "ben", "Hello", polite=True)
        assert (refused.value.operator_id, refused.value.session_id) == ("ann", "s")
        assert desk.answer("s", "ann", "Hello").message.author == "ann"
        assert desk.note("s", "ann", "calls back").message.internal
        assert desk.decline("s", "ann").desk.state == "waiting"
        assert desk.take_over("s", "ben", expect="waiting").desk.operator_id == "ben"
        assert desk.transfer("s", "ben", to="ann").desk.operator_id == "ann"
        assert [entry.session_id for entry in desk.assigned("ann")] == ["s"]
        assert [operator.operator_id for operator in desk.operators()] == ["ann", "ben"]
        assert desk.hand_back("s", "ann", resolved=True).current_agent == "ai"
        assert desk.stats().hour.requests == 1


@pytest.mark.parametrize("name", ["SessionManager", "Desk", "Inspector", "SessionCleanup"])
def test_everything_public_is_offered_with_the_same_parameters(name: str) -> None:
    def offered(cls: type) -> dict[str, object]:
        public = {name: value for name, value in inspect.getmembers_static(cls) if not name.startswith("_")}
        return {
            name: list(inspect.signature(value).parameters) if inspect.isfunction(value) else type(value)
            for name, value in public.items()
        }

    assert offered(getattr(blocking, name)) == offered(getattr(chat_session, name))


def test_iterators_and_operators_calls_are_those_of_the_asynchronous_manager(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect(max_message_history=2000) as manager:
        assert manager.settings.max_message_history == 2000
        manager.create_session("u", session_id="a")
        manager.add_messages("a", [{"from": "user", "text": str(i)} for i in range(1200)])
        assert [message.text for message in manager.iter_history("a")] == [str(i) for i in range(1200)]
        assert [message.seq for message in manager.iter_history("a", after=1100)] == list(range(1101, 1201))
        assert next(manager.iter_history("a")).text == "0"
        assert [session.session_id for session in blocking.Inspector(manager).scan_sessions()] == ["a"]
        manager.create_session("u", session_id="b")
        restored = msgspec.structs.replace(present(manager.get_session("b")), session_id="c", message_count=7)
        assert blocking.Inspector(manager).restore_session(restored).message_count == 7
        assert [session.session_id for session in manager.list_user_sessions("u", limit=2).sessions] == ["c", "b"]
        inspector = blocking.Inspector(manager)
        assert len(inspector.list_sessions(limit=10, agent="ai").sessions) == 3
        assert len(list(inspector.scan_sessions())) == 3
        assert blocking.Inspector(manager).diagnose()


def test_an_iterator_gives_what_came_before_the_error() -> None:
    async def numbers(_: Any) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise StoreCorrupt("session s1", "cannot be read")

    with blocking.SessionManager.from_url("sqlite:///:memory:") as manager:
        found: list[int] = []
        with pytest.raises(StoreCorrupt, match="s1"):
            found.extend(blocking._iterating(numbers)(manager))
        assert found == [1, 2]


@pytest.mark.parametrize("make", [redis.Redis, redis.asyncio.Redis], ids=["sync", "async"])
def test_a_redis_client_is_refused_with_the_reason(make: type[Any]) -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput, match=r"got a redis\..* event loop that made them.*from_url") as caught:
        blocking.SessionManager(make())
    assert caught.value.argument == "store"
    assert threading.active_count() == before


def test_a_manager_that_is_dropped_without_being_closed_warns_and_is_closed() -> None:
    before = threading.active_count()
    dropped = [blocking.SessionManager.from_url("sqlite:///:memory:")]
    dropped[0].create_session("u")
    with pytest.warns(ResourceWarning, match="unclosed <chat_session.blocking.SessionManager"):
        dropped.clear()
    for thread in threading.enumerate():
        if thread.name.startswith("chat-session"):
            thread.join(10)
    assert threading.active_count() == before


def test_a_call_from_its_own_event_loop_is_refused_instead_of_waiting_for_ever() -> None:
    class Asks(Hooks):
        error: RuntimeError | None = None

        def appended(self, session_id: str, senders: Any) -> None:
            try:
                manager.get_session(session_id)
            except RuntimeError as error:
                self.error = error

    asks = Asks()
    with blocking.SessionManager.from_url("sqlite:///:memory:", hooks=[asks]) as manager:
        manager.create_session("u", session_id="s")
        manager.add_message("s", {"from": "user", "text": "x"})
    assert "own event loop" in str(asks.error)


def test_several_threads_share_one_manager(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect(max_message_history=1000) as manager:
        session_id = manager.create_session("u").session_id

        def write(thread: int) -> list[int]:
            return [manager.add_message(session_id, {"from": "user", "text": str(i)}).seq for i in range(20)]

        with ThreadPoolExecutor(8) as threads:
            written = list(threads.map(write, range(8)))
        assert sorted(seq for seqs in written for seq in seqs) == list(range(1, 161))


def test_the_background_thread_ends_with_the_manager() -> None:
    before = threading.active_count()
    manager = blocking.SessionManager.from_url("sqlite:///:memory:")
    manager.create_session("u")
    manager.close()
    manager.close()
    assert threading.active_count() == before
    with pytest.raises(ManagerClosed):
        manager.create_session("u")


def test_a_manager_that_cannot_be_made_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(chat_session.SettingsError):
        blocking.SessionManager.from_url("nonsense://")
    assert threading.active_count() == before


def test_a_cleanup_runs_in_the_background(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "chat.db")
    with blocking.SessionManager.from_url(backend.url) as manager, blocking.SessionCleanup(manager, 3600) as cleanup:
        assert cleanup.get_status().is_running
        assert cleanup.cleanup().cleaned_count == 0
        cleanup.stop()
        assert not cleanup.get_status().is_running


# Turns


def test_a_turn_is_an_ordinary_context_manager_and_its_rounds_are_an_ordinary_iterator(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s", turns=True)
        manager.add_message("s", {"from": "user", "text": "one"})
        assert manager.pending_turns() == ["s"]
        rounds = []
        with manager.turn("s") as turn:
            assert (turn.session_id, turn.epoch, turn.missed) == ("s", 0, 0)
            assert [message.text for message in turn.messages] == ["one"]
            with pytest.raises(TurnBusy), manager.turn("s"):
                pass
            assert turn.record("looked it up").message.internal
            for messages in turn:
                rounds.append([message.text for message in messages])
                if len(rounds) == 1:
                    assert turn.reply("first").message.sender == "assistant"
                    manager.add_message("s", {"from": "user", "text": "two"})
                else:
                    assert [result.seq for result in turn.reply(["second", {"text": "third"}])] == [5, 6]
        assert rounds == [["one"], ["two"]]
        assert manager.pending_turns() == []
        texts = [message.text for message in manager.get_history("s")]
        assert texts == ["one", "first", "two", "second", "third"]


def test_the_lease_of_a_turn_renews_itself_while_the_block_runs_without_an_event_loop() -> None:
    renewed = threading.Semaphore(0)

    class Listening(Hooks):
        def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
            if name == "renew_turn":
                renewed.release()

    with blocking.SessionManager.from_url("sqlite:///:memory:", hooks=[Listening()]) as manager:
        manager.create_session("u", session_id="s")
        manager.add_message("s", {"from": "user", "text": "x"})
        with manager.turn("s", lease=1.5) as turn:
            for _ in range(4):  # a third of the lease each, so longer than one lease
                assert renewed.acquire(timeout=10)
            assert turn.reply("still mine").success


def test_a_block_whose_turn_is_lost_is_not_interrupted_but_its_next_call_and_its_end_are_refused(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s")
        manager.add_message("s", {"from": "user", "text": "x"})

        def work() -> None:
            with manager.turn("s") as turn:
                assert manager.stop_turn("s").success
                with pytest.raises(TurnLost, match="stop_turn was called") as refused:
                    turn.reply("too late")
                assert [message.text for message in refused.value.messages] == ["too late"]
                assert turn.record("the order is made").message.internal
                with pytest.raises(TurnLost):
                    list(turn)

        with pytest.raises(TurnLost) as left:
            work()
        assert left.value.reason == "stopped"
        with pytest.raises(TurnLost) as taken_over, manager.turn("s"):
            manager.switch_agent("s", "human")
        assert taken_over.value.reason == "taken_over"
        with pytest.raises(AgentConflict), manager.turn("s"):
            pass
        assert [message.text for message in manager.get_history("s")] == ["x"]


def test_leaving_a_block_raises_the_loss_that_the_background_noticed_meanwhile() -> None:
    noticed = threading.Event()

    def work() -> None:
        with manager.turn("s", lease=3):
            manager.stop_turn("s")
            assert noticed.wait(10)

    class Listening(Hooks):
        def turn_lost(self, session_id: str, reason: str) -> None:
            noticed.set()

    with blocking.SessionManager.from_url("sqlite:///:memory:", hooks=[Listening()]) as manager:
        manager.create_session("u", session_id="s")
        manager.add_message("s", {"from": "user", "text": "x"})
        with pytest.raises(TurnLost, match="stop_turn was called"):
            work()
        with manager.turn("s") as turn:
            assert [message.text for message in turn.messages] == ["x"]


def test_an_exception_in_the_block_leaves_the_round_to_the_next_worker(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s", turns=True)
        manager.add_message("s", {"from": "user", "text": "x"})
        with pytest.raises(ZeroDivisionError), manager.turn("s"):
            raise ZeroDivisionError
        assert next(manager.wait_for_turns()) == "s"
        with manager.turn("s"):
            pass
        assert manager.pending_turns() == []


def test_a_reply_grows_in_an_ordinary_context_manager(redis_backend: ServerBackend) -> None:
    with blocking.SessionManager.from_url(redis_backend.url) as manager:
        manager.create_session("u", session_id="s", ttl=60)
        manager.add_message("s", {"from": "user", "text": "x"})
        with manager.turn("s") as turn:
            with turn.stream(author="Bot", type="answer") as reply:
                for word in ("hello ", "you"):
                    reply.write(word)
                reply.set_fields(tokens=2)
                assert (reply.text, reply.result) == ("hello you", None)
            assert reply.result is not None
            assert (reply.result.seq, reply.result.message_id) == (2, reply.id)
            with suppress(ZeroDivisionError), turn.stream(keep_partial=True) as reply:
                reply.write("hel")
                raise ZeroDivisionError
        stored = [(each.text, each.type, each.author, each.tokens) for each in manager.get_history("s")]
        assert stored == [("x", None, None, None), ("hello you", "answer", "Bot", 2), ("hel", "partial", None, None)]


def test_a_reply_whose_turn_is_lost_is_refused_at_its_next_text(redis_backend: ServerBackend) -> None:
    def work() -> None:
        with manager.turn("s") as turn, turn.stream() as reply:
            manager.stop_turn("s")
            while True:
                reply.write("x")

    with blocking.SessionManager.from_url(redis_backend.url) as manager:
        manager.create_session("u", session_id="s", ttl=60)
        manager.add_message("s", {"from": "user", "text": "x"})
        with pytest.raises(TurnLost, match="stop_turn was called"):
            work()
        assert [message.text for message in manager.get_history("s")] == ["x"]


def test_sessions_that_wait_for_a_worker_are_given_one_by_one_as_they_come(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect(turns=True) as manager:
        found = []
        work = manager.wait_for_turns()
        for session_id in ("a", "b"):
            manager.create_session("u", session_id=session_id)
            manager.add_message(session_id, {"from": "user", "text": "x"})
            found.append(next(work))
            with manager.turn(session_id) as turn:
                turn.reply("y")
        assert found == ["a", "b"]


def test_a_thread_that_waits_for_work_is_told_when_another_closes_the_manager() -> None:
    with ThreadPoolExecutor(1) as threads:
        waits = threading.Event()

        class Listening(Hooks):
            def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
                waits.set()

        manager = blocking.SessionManager.from_url("sqlite:///:memory:", hooks=[Listening()])
        waiting = threads.submit(lambda: next(manager.wait_for_turns()))
        assert waits.wait(10)
        manager.close()
        with pytest.raises(ManagerClosed):
            waiting.result(10)


@pytest.mark.parametrize("seconds", [{"lease": 0}, {"wait": -1}, {"debounce": "long"}])
def test_a_turn_refuses_what_is_no_length_of_time(seconds: dict[str, Any]) -> None:
    with blocking.SessionManager.from_url("sqlite:///:memory:") as manager, pytest.raises(InvalidInput):
        manager.turn("s", **seconds)
