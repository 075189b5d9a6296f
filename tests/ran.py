"""What a command of the terminal left behind."""

import json
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """Its exit code, and what it said on both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]
