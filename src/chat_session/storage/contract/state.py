"""The state of a store: small mappings that belong to a user or an application, not to a session."""

from collections.abc import Mapping
from typing import Any, Protocol


class StateStore(Protocol):
    """Optional: a store that offers none of it has None in its place. A scope is ``user:<id>`` or ``app:<name>``."""

    async def get_state(self, scope: str) -> dict[str, Any]:
        """The entries; none is an empty mapping."""
        ...

    async def update_state(self, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge entries, None removes one; all entries as they are then.

        The limits are those of metadata, for the merged whole: InvalidInput, nothing changed.
        """
        ...

    async def delete_state(self, scope: str) -> int:
        """Remove all entries; how many there were."""
        ...
