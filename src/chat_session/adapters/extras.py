"""What is said where the framework of an adapter is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str, package: str) -> Iterator[None]:
    """Surrounds the imports of an adapter. ModuleNotFoundError for ``package`` says how to install the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name != package and not name.startswith(f"{package}.") and not package.startswith(f"{name}."):
            raise
        text = f"The package {package} is not installed. Install it with: pip install 'chat-session[{extra}]'"
        raise ModuleNotFoundError(text, name=error.name, path=error.path) from error
