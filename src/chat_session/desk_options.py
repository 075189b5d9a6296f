"""What a store's desk is opened with."""

from msgspec import Struct

DEFAULT_CAPACITY = 5  # sessions that an operator may have when claiming another


class DeskOptions(Struct, frozen=True):
    """``hand_back_after`` None: an operator may be silent for any time."""

    waiting_ttl: int  # seconds that a session lives at least while people depend on it
    claim_lease: float  # seconds that an operator is present after the last sign
    hand_back_after: float | None  # seconds

    @property
    def presence_ms(self) -> int:
        return max(round(self.claim_lease * 1000), 1)
