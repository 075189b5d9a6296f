"""The feed of the desk, on a server that is away for a while."""

from chat_session import Desk, Hooks, SessionManager
from chat_session.events import DeskChanged
from chat_session.testing import until
from chat_session.testing.feed.scene import DeskWatch
from testkit.servers import Server


class Refused(Hooks):
    """Counts calls that the store did not answer."""

    count = 0

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        self.count += outcome == "store_unavailable"


async def test_a_watcher_of_the_desk_waits_for_a_server_that_does_not_answer(own_server: Server) -> None:
    refused = Refused()
    options = {"store_timeout": 2.0, "redis_max_retries": 0}
    async with (
        SessionManager.from_url(own_server.url) as manager,
        SessionManager.from_url(own_server.url, hooks=[refused], **options) as other,  # type: ignore[arg-type]
    ):
        await manager.create_session("u", session_id="s")
        async with DeskWatch(other) as watch:
            await Desk(manager).request_human("s")
            with own_server.frozen():  # the next reading comes 0.1 s after the first one

                async def was_refused() -> bool:
                    return refused.count > 0

                await until(was_refused)
            told = await watch.next(DeskChanged)
    assert (told.session_id, told.desk.state) == ("s", "waiting")
