"""What is measured of every peer."""

from typing import NamedTuple

SESSIONS = 1000


class Operation(NamedTuple):
    """``method`` is the peer's; ``tasks`` at once, going round so many ``sessions``."""

    name: str
    method: str
    tasks: int = 1
    sessions: int = SESSIONS

    @property
    def writes(self) -> bool:
        return self.method.startswith("append")

    @property
    def subject(self) -> str:
        """The name that a peer uses for it in ``cannot`` and ``remarks``."""
        return "append" if self.method == "append_one" else self.method


OPERATIONS = (
    Operation("append 1, one session, 1 task", "append_one", 1, 1),
    Operation("append 1, one session, 64 tasks", "append_one", 64, 1),
    Operation("append 1, one session, 256 tasks", "append_one", 256, 1),
    Operation("append 1, 1,000 sessions, 1 task", "append_one", 1),
    Operation("append 1, 1,000 sessions, 64 tasks", "append_one", 64),
    Operation("append 1, 1,000 sessions, 256 tasks", "append_one", 256),
    Operation("append 10 at once, 1 task", "append_ten", 1),
    Operation("append 10 at once, 64 tasks", "append_ten", 64),
    Operation("read the last 20, 1 task", "read_20", 1),
    Operation("read the last 20, 64 tasks", "read_20", 64),
    Operation("read all 100, 1 task", "read_100", 1),
    Operation("read all 100, 64 tasks", "read_100", 64),
    Operation("create a session, 1 task", "create", 1),
    Operation("create a session, 64 tasks", "create", 64),
    Operation("list a user's 5 sessions", "list_user", 1),
)
