"""The contract of lifetimes at the desk: a session does not expire while people depend on it."""

from collections.abc import Awaitable, Callable

from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import USER, DeskFixture, claim, create, let_wait, place, waiting_ids
from chat_session.testing.sessions.edits import read
from chat_session.testing.waiting import until_dead

WEEK = 604_800  # the default of WAITING_TTL, in seconds
SLACK = 100  # seconds that a test may take


async def has_left(manager: SessionManager, session_id: str, ttl: int) -> bool:
    return ttl - SLACK <= await manager.get_session_ttl(session_id) <= ttl


class DeskLifetimeContract(DeskFixture):
    """WAITING_TTL, and the session's own ttl."""

    async def test_a_session_lives_longer_while_people_depend_on_it(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s", ttl=600)
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: desk.request_human("s"),
            lambda: manager.add_message("s", USER),
            lambda: manager.extend_session("s"),
            lambda: manager.update_session("s", {"a": 1}),
            lambda: desk.take_over("s", "anna"),
            lambda: desk.answer("s", "anna", "hello"),
            lambda: desk.note("s", "anna", "a note"),
            lambda: desk.transfer("s", "anna", to="ben"),
            lambda: desk.decline("s", "ben"),
            lambda: desk.claim_next("anna"),
            lambda: desk.transfer("s", "anna", team="sales"),
        )
        for step in steps:
            await step()
            assert await has_left(manager, "s", WEEK)
            assert (await read(manager, "s")).ttl == 600
        assert [session.ttl for session in await manager.get_user_sessions("u")] == [600]
        assert (await desk.hand_back("s", "anna")).ttl == 600
        assert await has_left(manager, "s", 600)
        await manager.add_message("s", USER)
        assert await has_left(manager, "s", 600)
        assert (await desk.take_over("s", "anna")).ttl == 600
        assert await has_left(manager, "s", WEEK)

    async def test_a_ttl_that_is_set_meanwhile_is_the_sessions_own(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        for ttl in (900, 300):
            await manager.set_session_ttl("s", ttl)
            assert await has_left(manager, "s", WEEK)
            assert (await read(manager, "s")).ttl == ttl
            await manager.add_message("s", USER)
            assert await has_left(manager, "s", WEEK)
        await desk.take_over("s", "anna")
        await manager.set_session_ttl("s", 1200)
        assert await has_left(manager, "s", WEEK)
        assert (await desk.hand_back("s", "anna")).ttl == 1200
        assert await has_left(manager, "s", 1200)

    async def test_a_session_that_never_expires_stays_so(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s", ttl=None)
        await desk.request_human("s")
        assert await manager.get_session_ttl("s") == -1
        assert (await desk.take_over("s", "anna")).ttl is None
        await desk.answer("s", "anna", "hello")
        assert await manager.get_session_ttl("s") == -1
        assert (await desk.hand_back("s", "anna")).ttl is None
        assert await manager.get_session_ttl("s") == -1
        await manager.delete_session("s")

    async def test_a_limit_may_be_set_and_removed_while_a_session_waits(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "limited", "unlimited", ttl=None)
        for session_id in ("limited", "unlimited"):
            await desk.request_human(session_id)
        await manager.set_session_ttl("limited", 600)
        assert (await read(manager, "limited")).ttl == 600
        assert await has_left(manager, "limited", WEEK)
        await manager.add_message("limited", USER)
        assert await has_left(manager, "limited", WEEK)
        assert (await desk.hand_back("limited", "anna")).ttl == 600
        assert await has_left(manager, "limited", 600)
        await manager.set_session_ttl("unlimited", 600)
        await manager.set_session_ttl("unlimited", None)
        assert (await read(manager, "unlimited")).ttl is None
        assert await manager.get_session_ttl("unlimited") == -1
        assert (await desk.hand_back("unlimited", "anna")).ttl is None
        assert await manager.get_session_ttl("unlimited") == -1
        await manager.delete_session("unlimited")

    async def test_a_session_whose_own_ttl_is_longer_keeps_it(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(waiting_ttl=1000)
        desk = Desk(manager)
        await create(manager, "s", ttl=50_000)
        await desk.request_human("s")
        assert await has_left(manager, "s", 50_000)
        await manager.set_session_ttl("s", 300)
        assert (await read(manager, "s")).ttl == 300
        assert await has_left(manager, "s", 1000)
        await manager.set_session_ttl("s", 20_000)
        assert (await read(manager, "s")).ttl == 20_000
        assert await has_left(manager, "s", 20_000)
        assert (await desk.hand_back("s", "anna")).ttl == 20_000
        assert await has_left(manager, "s", 20_000)

    async def test_a_waiting_session_outlives_its_own_ttl(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "waits", ttl=1)
        await desk.request_human("waits")
        await create(manager, "held", ttl=1)
        await desk.take_over("held", "anna")
        await create(manager, "dies", ttl=1)
        await until_dead(manager, "dies")
        assert await manager.is_session_active("waits")
        assert await manager.is_session_active("held")
        assert await manager.get_active_sessions_count() == 2
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 1
        assert await waiting_ids(manager) == ["waits"]

    async def test_a_session_that_was_handed_back_dies_by_its_own_ttl_and_is_counted_so(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s", ttl=1)
        await desk.take_over("s", "anna")
        await desk.hand_back("s", "anna")
        await until_dead(manager, "s")
        assert await manager.get_active_sessions_count() == 0
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 1
        assert await manager.get_user_sessions("u") == []

    async def test_a_fork_of_a_waiting_session_has_its_own_ttl_and_does_not_wait(self, manager: SessionManager) -> None:
        await let_wait(manager, "s")
        fork = await manager.fork_session("s", new_id="fork")
        assert fork.ttl == 600
        assert await has_left(manager, "fork", 600)
        assert (await read(manager, "fork")).desk.state != "waiting"
        assert await waiting_ids(manager) == ["s"]

    async def test_a_session_that_dies_while_it_waits_leaves_the_queue(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(waiting_ttl=1)
        await create(manager, "s", ttl=1)
        await Desk(manager).request_human("s")
        await let_wait(manager, "kept")
        await until_dead(manager, "s")
        assert [await claim(manager, "anna") for _ in range(2)] == ["kept", None]
        await manager.cleanup_expired_sessions()
        assert await waiting_ids(manager) == []
        assert (await Desk(manager).stats()).waiting == {}

    async def test_a_session_created_again_under_the_id_of_one_that_waited_does_not_wait(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s", "t")
        await desk.take_over("t", "anna")
        for session_id in ("s", "t"):
            await manager.delete_session(session_id)
            await create(manager, session_id)
            assert await place(manager, session_id) == ("open", None)
        assert await waiting_ids(manager) == []
        assert await claim(manager, "anna") is None
        await desk.request_human("s")
        assert await claim(manager, "anna") == "s"

    async def test_erasing_a_user_takes_the_sessions_out_of_the_queue(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "a", "b")
        await manager.create_session("other", session_id="kept", ttl=600)
        await desk.request_human("kept")
        await manager.erase_user("u")
        assert await waiting_ids(manager) == ["kept"]
        assert [await claim(manager, "anna") for _ in range(2)] == ["kept", None]

    async def test_changes_of_the_history_and_of_the_user_leave_the_place_in_the_queue(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s", "later", reason="a refund", team="billing")
        before = (await read(manager, "s")).desk
        await manager.replace_history("s", [USER])
        await manager.clear_history("s")
        await manager.assign_session("s", "signed in")
        await manager.update_session("s", {"team": "another"})
        assert (await read(manager, "s")).desk == before
        assert await waiting_ids(manager) == ["s", "later"]
        session = await desk.claim_next("anna")
        assert session is not None
        assert (session.session_id, session.user_id) == ("s", "signed in")
