"""History and session store of the Microsoft Agent Framework. Install the extra ``agent-framework``.

from chat_session.adapters.agent_framework import ManagedHistoryProvider

agent = Agent(client, context_providers=[ManagedHistoryProvider(manager)])
"""

from typing import TYPE_CHECKING, Any

from chat_session.adapters.extras import needs

with needs("agent-framework", "agent_framework"):
    from chat_session.adapters.agent_framework.history import ManagedHistoryProvider as ManagedHistoryProvider
    from chat_session.adapters.agent_framework.messages import FORMAT as FORMAT

if TYPE_CHECKING:
    from chat_session.adapters.agent_framework.store import ManagedSessionStore as ManagedSessionStore


def __getattr__(name: str) -> Any:
    """The framework's session store is experimental: a use of it warns, and it may be gone in a later version."""
    if name == "ManagedSessionStore":
        from chat_session.adapters.agent_framework.store import ManagedSessionStore  # noqa: PLC0415

        return ManagedSessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
