"""The contract of a store as tests, for anyone who writes one.

    from chat_session.testing import SessionContract

    class TestMyStore(SessionContract):
        @pytest.fixture
        def place(self): ...

A place opens managers on the store under test and can look beneath it: see ``Place``. The tests are
asynchronous; run them with pytest-asyncio in auto mode, and call
``pytest.register_assert_rewrite("chat_session.testing")`` in conftest.py for readable failures.
"""

from chat_session.testing.agents import AgentContract
from chat_session.testing.indexes import IndexContract
from chat_session.testing.lifetimes import LifetimeContract
from chat_session.testing.messages import MessageContract
from chat_session.testing.place import Place as Place
from chat_session.testing.sessions import SessionsContract


class SessionContract(SessionsContract, MessageContract, AgentContract, LifetimeContract, IndexContract):
    """All of it."""
