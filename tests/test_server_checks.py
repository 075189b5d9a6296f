"""What the doctor says about servers that do not tell everything: managed servers refuse CONFIG."""

import pytest

from chat_session import Inspector, SessionManager
from chat_session.storage.contract import Finding
from chat_session.storage.redis.server_checks import check_eviction, check_version, find_manager, parse_info
from testkit.backends import ServerBackend

AMAZON = b"# Server\r\nredis_version:7.1.0\r\nos:Amazon ElastiCache\r\nrole:master\r\naof_enabled:0\r\n"


async def check(url: str) -> dict[str, Finding]:
    async with SessionManager.from_url(url) as manager:
        return {finding.subject: finding for finding in await Inspector(manager).diagnose()}


async def test_where_config_is_refused_no_loss_is_claimed(redis_backend: ServerBackend) -> None:
    with redis_backend.server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">p", "~*", "+@all", "-config")
        try:
            found = await check(f"redis://app:p@127.0.0.1:{redis_backend.server.port}")
        finally:
            client.execute_command("ACL", "DELUSER", "app")
    assert found["persistence"].level == "warning"
    assert found["persistence"].text.startswith("CONFIG is refused")
    assert "loses every session" not in found["persistence"].text


def test_amazon_is_recognised_by_what_info_says() -> None:
    assert find_manager(parse_info(AMAZON)) == "Amazon (ElastiCache or MemoryDB)"
    assert find_manager(parse_info(b"os:Linux 6.1.0 x86_64\r\n")) is None


@pytest.mark.parametrize(
    ("info", "level"),
    [
        (b"redis_version:7.0.15", "ok"),
        (b"redis_version:6.0.16", "error"),
        (b"redis_version:7.2.4\r\nvalkey_version:9.1.2", "ok"),
        (b"redis_version:255.255.255", "ok"),
        (b"redis_version:df-v1", "warning"),
        (b"redis_version:", "warning"),
        (b"", "warning"),
        (b"\xff\xfe:\r\n:\r\nno colon", "warning"),
    ],
)
def test_any_version_is_read_or_said_to_be_unknown(info: bytes, level: str) -> None:
    assert check_version(parse_info(info)).level == level


def test_a_policy_that_info_does_not_tell_is_said_to_be_unknown() -> None:
    assert check_eviction(parse_info(b"")).text.startswith("The server does not tell")
    assert check_eviction(parse_info(b"maxmemory_policy:volatile-lru")).level == "warning"
