"""The contract of the sessions capability, which every store has.

lifecycle    sessions are created, read, changed and deleted
messages     messages are stored once, in order, and bounded
agents       who answers a session, and which replies come too late
lifetimes    deadlines, and what moves them
indexes      lists, counts and sweeps
"""

from chat_session.testing.sessions.agents import AgentContract
from chat_session.testing.sessions.indexes import IndexContract
from chat_session.testing.sessions.lifecycle import LifecycleContract
from chat_session.testing.sessions.lifetimes import LifetimeContract
from chat_session.testing.sessions.messages import MessageContract


class SessionsContract(LifecycleContract, MessageContract, AgentContract, LifetimeContract, IndexContract):
    """All tests of the capability."""
