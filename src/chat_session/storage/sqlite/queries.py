"""The queries of ``queries.sql`` by name. Python itself contains only PRAGMAs and the control of transactions."""

import re
from importlib.resources import files


def _read_queries(text: str) -> dict[str, str]:
    """A query begins with the line ``-- name: …``; comments are left out."""
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {
        name: re.sub(r"^--.*\n", "", query, flags=re.MULTILINE).strip()
        for name, query in zip(parts[::2], parts[1::2], strict=True)
    }


SQL = _read_queries((files(__package__) / "queries.sql").read_text("utf-8"))
