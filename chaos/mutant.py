"""What a planted fault is."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """``old`` is in ``file`` exactly once, and is replaced by ``new``.

    ``test`` must find it. It is either a fault test and its store ("R8 standalone"), or a store, a file of tests and
    an expression that chooses some of them ("redis: test_cleanup.py: a_failing_run_is_logged").
    """

    name: str
    file: str
    old: str
    new: str
    test: str
