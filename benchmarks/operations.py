"""What is measured of every peer."""

from typing import NamedTuple

SESSIONS = 1000
CHANGED = 256  # sessions whose whole history is changed: the tasks are spread over them, and seldom meet


class Operation(NamedTuple):
    """``method`` is the peer's; ``tasks`` at once, going round so many ``sessions``."""

    name: str
    method: str
    tasks: int = 1
    sessions: int = SESSIONS
    steady: bool = False  # called once on each session before it is timed, so all histories are as it leaves them

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
    Operation("window of 20 with tokens, 1 task", "window_20", 1),
    Operation("window of 20 with tokens, 64 tasks", "window_20", 64),
    # After the reads: these leave other histories than they found.
    Operation("append 1 and pop it, 1 task", "pop", 1),
    Operation("append 1 and pop it, 64 tasks", "pop", 64),
    Operation("replace 20 by 20, 1 task", "replace_20", 1, CHANGED, steady=True),
    Operation("replace 20 by 20, 64 tasks", "replace_20", 64, CHANGED, steady=True),
    Operation("clear and append 1, 1 task", "clear", 1, CHANGED, steady=True),
    Operation("clear and append 1, 64 tasks", "clear", 64, CHANGED, steady=True),
    Operation("create a session, 1 task", "create", 1),
    Operation("create a session, 64 tasks", "create", 64),
    Operation("list a user's 5 sessions", "list_user", 1),
)
