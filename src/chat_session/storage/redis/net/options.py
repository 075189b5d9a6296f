"""How the servers are reached. Times are in seconds."""

from collections.abc import Mapping

from msgspec import Struct

from chat_session.addresses import printable


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """``username`` and ``password`` are used where the URL has no password."""

    url: str
    tls: bool
    tls_files: Mapping[str, str]  # by redis-py's names: ssl_ca_certs, ssl_certfile, ssl_keyfile
    username: str | None
    password: str | None
    retries: int
    retry_delay: float
    call_timeout: float
    wait_replicas: int
    wait_timeout_ms: int

    def __repr__(self) -> str:
        return f"ConnectionOptions(url={printable(self.url)!r}, …)"  # without the passwords
