"""What a command of the terminal answered."""

import json
from typing import Any, NamedTuple


class CommandResult(NamedTuple):
    """Its exit code, and what it wrote to standard output and to standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found
