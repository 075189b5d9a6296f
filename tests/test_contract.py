"""The contract of a store, on every store and topology. The tests are in ``chat_session.testing``."""

from chat_session.testing import StoreContract


class TestContract(StoreContract):
    """``testkit.backends`` says on what it runs."""
