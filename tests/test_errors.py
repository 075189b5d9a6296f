"""Errors as values: they can be passed between processes, with all their facts."""

import copy
import importlib
import inspect
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import chat_session
from chat_session.errors import AgentConflict, ChatSessionError, DeskConflict, SessionNotFound, StoreUnavailable
from chat_session.message import Message

MESSAGES = (Message(sender="user", text="hello", id="m1", timestamp=datetime(2026, 1, 31, tzinfo=UTC), extra={"a": 1}),)


class QuotaExceeded(ChatSessionError):
    """A class that an application may derive: with other parameters than its parent, and with a fact of its own."""

    def __init__(self, user_id: str, *, limit: int) -> None:
        super().__init__(f"user {user_id!r} has {limit} sessions")
        self.limit = limit


def error_classes() -> list[type[ChatSessionError]]:
    """Every class of errors that a module of the package defines. The adapters, which need frameworks, define none."""
    found = set()
    root = Path(chat_session.__file__).parent
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        if parts[0] != "adapters" and parts[-1] not in ("__main__", "__init__"):
            module = importlib.import_module(".".join(("chat_session", *parts)))
            found |= {c for _, c in inspect.getmembers(module, inspect.isclass)}
    return sorted((c for c in found if issubclass(c, ChatSessionError)), key=lambda kind: kind.__qualname__)


MOMENT = datetime(2026, 1, 31, 8, tzinfo=UTC)
EXAMPLES: dict[str, Any] = {
    "str": "text",
    "str | None": "text",
    "int": 7,
    "int | str": 7,
    "float": 1.5,
    "bool": True,
    "datetime.datetime | None": MOMENT,
}


def make(kind: type[ChatSessionError]) -> ChatSessionError:
    """An error of this class with a value for every parameter, and facts added later as the manager does."""
    parameters = inspect.signature(kind).parameters.values()
    values: dict[str, Any] = {p.name: EXAMPLES[inspect.formatannotation(p.annotation)] for p in parameters}
    positional = [values.pop(p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    error = kind(*positional, **values)
    error.session_id = "s1"
    vars(error)["messages"] = MESSAGES
    error.add_note("seen in a test")
    return error


def copies(error: ChatSessionError) -> Iterator[ChatSessionError]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(error, protocol))
    yield copy.copy(error)
    yield copy.deepcopy(error)


@pytest.mark.parametrize("kind", [*error_classes(), QuotaExceeded], ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_and_copying_with_all_its_facts(kind: type[ChatSessionError]) -> None:
    error = make(kind)
    for copied in copies(error):
        assert type(copied) is kind
        assert (str(copied), repr(copied), copied.args) == (str(error), repr(error), error.args)
        assert vars(copied) == vars(error)


def fail_with(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        AgentConflict("s1", 3, 4, "human"),
        DeskConflict("s1", "assigned", "anna", MOMENT, 4),
        StoreUnavailable("away", attempts=4),
        QuotaExceeded("u", limit=5),
    ],
)
def test_an_error_leaves_a_process_pool_as_it_was_raised(error: ChatSessionError) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        future = pool.submit(fail_with, error)
        with pytest.raises(type(error)) as raised:
            future.result(timeout=60)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_an_error_leaves_a_multiprocessing_pool_as_it_was_raised() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(SessionNotFound) as raised:
        pool.apply_async(fail_with, [SessionNotFound("s1")]).get(timeout=60)
    assert raised.value.session_id == "s1"
