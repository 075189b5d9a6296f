"""The same short run of an agent in each framework, on its adapter, with a scripted model: for tests over all five.

Each module has a class ``Clerk``. A run says ``text`` for the customer, calls the tool ``order`` and answers with
``reply``.
"""

import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from chat_session import SessionManager

SESSION_ID = "shop:ann:s1"  # as ADK's adapter makes it of an app, a user and a session
FRAMEWORKS = {  # and what each is imported as
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "adk": "google.adk",
    "agent_framework": "agent_framework",
    "llama_index": "llama_index.core",
}

Order = Callable[[], Awaitable[str]]
Change = Callable[[], Awaitable[object]]


class Clerk(Protocol):
    """An agent of one framework on one session."""

    async def run(self, text: str, order: Order, reply: str) -> None:
        """One run. ``order`` is the tool; it tells the result."""

    async def read(self) -> Sequence[Any]:
        """The history as the framework reads it, in its own items."""

    def text_of(self, item: Any) -> str:
        """The words of an item, or the result of a tool; empty for a call."""

    def is_customers(self, item: Any) -> bool:
        """Whether the model is told that the customer said it."""

    def changes(self) -> dict[str, Change]:
        """The writes of the adapter by their names, after a run."""


def open_clerk(framework: str, manager: SessionManager, **options: Any) -> Clerk:
    """``options``: those of the clerk's class. Raises ImportError."""
    clerk: Clerk = importlib.import_module(f"testkit.adapters.{framework}").Clerk(manager, **options)
    return clerk
