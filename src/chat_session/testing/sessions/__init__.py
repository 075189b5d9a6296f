"""The contract of the sessions capability, which every store has.

lifecycle       sessions are created, read, changed and deleted
creation        get or create, fork, assign, erase
messages        messages are stored once, in order, and bounded
agent_messages  the fields that agents need: contents, internal messages, calls and answers
edits           retract, pop, replace, clear
conditional     compare and append; counters
agents          who answers a session, and which replies come too late
lifetimes       deadlines, and what moves them
indexes         lists, counts and sweeps
"""

from chat_session.testing.sessions.agent_messages import AgentMessageContract
from chat_session.testing.sessions.agents import AgentContract
from chat_session.testing.sessions.conditional import ConditionalContract
from chat_session.testing.sessions.creation import CreationContract
from chat_session.testing.sessions.edits import EditContract
from chat_session.testing.sessions.indexes import IndexContract
from chat_session.testing.sessions.lifecycle import LifecycleContract
from chat_session.testing.sessions.lifetimes import LifetimeContract
from chat_session.testing.sessions.messages import MessageContract


class SessionsContract(
    LifecycleContract,
    CreationContract,
    MessageContract,
    AgentMessageContract,
    EditContract,
    ConditionalContract,
    AgentContract,
    LifetimeContract,
    IndexContract,
):
    """All tests of the capability."""
