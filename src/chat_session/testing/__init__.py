"""The contract of a store as tests, for anyone who writes a store.

    sessions    SessionsContract: sessions, messages, agents, lifetimes and indexes; every store has these
    operator    OperatorContract: scan, list all sessions by page, diagnose, restore
    state       StateContract: small mappings that belong to users and applications; and StateInOneStepContract, for a
                store whose states change in one step with its sessions
    desk        DeskContract: people take over from the AI: requests, claims, takeovers, presence, figures
    turns       TurnContract: one worker at a time answers a session
    feed        FeedContract: what happens in a session is told, complete and in order
    replies     ReplyContract: a reply grows while it is written, and at the end it is one message
    backend     Backend: what the tests need to know of the store under test
    waiting     until, until_dead: how the tests wait

To run the contract for a store of your own, write a class in a test file. It derives from ``StoreContract``, or from
the contracts of the capabilities that your store has, and gives the tests three fixtures::

    import pytest
    from chat_session.testing import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def backend(self):                  # see Backend: it opens managers on an empty store
            return MyBackend()

        @pytest.fixture
        async def open_manager(self, backend):
            opened = []
            def make(**settings):
                opened.append(backend.open(**settings))
                return opened[-1]
            yield make
            for manager in opened:
                await manager.close()

        @pytest.fixture
        def manager(self, open_manager):
            return open_manager()

The tests are asynchronous: install pytest-asyncio and set ``asyncio_mode = "auto"``. For readable failures call
``pytest.register_assert_rewrite("chat_session.testing")`` in conftest.py, before anything imports this package.
"""

from chat_session.testing.backend import Backend as Backend
from chat_session.testing.desk import DeskContract as DeskContract
from chat_session.testing.feed import FeedContract as FeedContract
from chat_session.testing.operator import OperatorContract
from chat_session.testing.replies import ReplyContract as ReplyContract
from chat_session.testing.sessions import SessionsContract
from chat_session.testing.state import StateContract as StateContract
from chat_session.testing.state import StateInOneStepContract as StateInOneStepContract
from chat_session.testing.turns import TurnContract as TurnContract
from chat_session.testing.waiting import until as until
from chat_session.testing.waiting import until_dead as until_dead


class StoreContract(
    SessionsContract, OperatorContract, StateContract, DeskContract, TurnContract, ReplyContract, FeedContract
):
    """All tests of all capabilities."""
