"""What a store promises, one protocol for each capability. ``sessions`` every store has; the others may be None."""

from typing import Protocol

from chat_session.storage.contract.desk import DeskStore as DeskStore
from chat_session.storage.contract.desk import DeskSweep as DeskSweep
from chat_session.storage.contract.desk import Stepped as Stepped
from chat_session.storage.contract.feed import Edit as Edit
from chat_session.storage.contract.feed import FeedStore as FeedStore
from chat_session.storage.contract.feed import Observation as Observation
from chat_session.storage.contract.feed import Position as Position
from chat_session.storage.contract.feed import Wake as Wake
from chat_session.storage.contract.operator import Finding as Finding
from chat_session.storage.contract.operator import OperatorStore as OperatorStore
from chat_session.storage.contract.replies import ReplyState as ReplyState
from chat_session.storage.contract.replies import ReplyStore as ReplyStore
from chat_session.storage.contract.sessions import Appended as Appended
from chat_session.storage.contract.sessions import Conditional as Conditional
from chat_session.storage.contract.sessions import RemainingTtl as RemainingTtl
from chat_session.storage.contract.sessions import SessionStore as SessionStore
from chat_session.storage.contract.sessions import Switched as Switched
from chat_session.storage.contract.state import StateStore as StateStore
from chat_session.storage.contract.turns import TurnState as TurnState
from chat_session.storage.contract.turns import TurnStore as TurnStore

CAPABILITIES: dict[str, type] = {
    "sessions": SessionStore,
    "desk": DeskStore,
    "feed": FeedStore,
    "operator": OperatorStore,
    "replies": ReplyStore,
    "state": StateStore,
    "turns": TurnStore,
}


class Store(Protocol):
    """One place that keeps sessions. Each capability has its own protocol, so a new one breaks no existing store."""

    @property
    def sessions(self) -> SessionStore: ...

    @property
    def desk(self) -> DeskStore | None: ...

    @property
    def feed(self) -> FeedStore | None: ...

    @property
    def operator(self) -> OperatorStore | None: ...

    @property
    def replies(self) -> ReplyStore | None: ...

    @property
    def state(self) -> StateStore | None: ...

    @property
    def turns(self) -> TurnStore | None: ...

    async def close(self) -> None:
        """Release what the store opened itself. It waits for no server. A second close is no error."""
        ...


def is_store(value: object) -> bool:
    """Whether it is meant to be a store: all it takes is sessions."""
    return hasattr(value, "sessions")


def missing_methods(store: object) -> list[str]:
    """What it lacks to be one, such as ``sessions.append_messages``; nothing of a capability that is None."""
    missing = [] if callable(getattr(store, "close", None)) else ["close"]
    for name, protocol in CAPABILITIES.items():
        capability = getattr(store, name, None)
        if capability is None and name != "sessions":
            continue
        wanted = [method for method in vars(protocol) if not method.startswith("_")]
        missing += [f"{name}.{method}" for method in wanted if not callable(getattr(capability, method, None))]
    return missing
