"""The contract of a store, on every store and topology."""

from chat_session.testing import SessionContract


class TestContract(SessionContract):
    """What is tested stands in ``chat_session.testing``; where, in ``places``."""
