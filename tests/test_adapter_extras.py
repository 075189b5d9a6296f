"""An adapter whose framework is not installed says what to install."""

import importlib

import pytest

from chat_session.adapters.extras import needs


def test_a_framework_that_is_missing_is_named_with_the_command_that_installs_it() -> None:
    wanted = r"no_such\.framework is not installed\. Install it with: pip install 'chat-session\[extra\]'"
    with pytest.raises(ModuleNotFoundError, match=wanted), needs("extra", "no_such.framework"):
        importlib.import_module("no_such.framework.memory")


def test_another_package_that_is_missing_is_an_error_of_its_own() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'something_else'"), needs("extra", "framework"):
        importlib.import_module("something_else")
