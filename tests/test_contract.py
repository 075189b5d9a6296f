"""The contract of a store, on every store and topology. The tests are in ``chat_session.testing``."""

import pytest

from chat_session.testing import StateInOneStepContract, StoreContract
from testkit.backends import Backend, ClusterBackend


class TestContract(StoreContract):
    """``testkit.backends`` says on what it runs."""


class TestStateInOneStep(StateInOneStepContract):
    """On all but clusters, where a state has a slot of its own."""

    @pytest.fixture(autouse=True)
    def not_on_a_cluster(self, backend: Backend) -> None:
        if isinstance(backend, ClusterBackend):
            pytest.skip("on a cluster the state is written first")
