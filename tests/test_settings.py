"""Settings: where they come from, and errors that name the variable."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest

from chat_session import SessionManager, Settings, SettingsError
from chat_session.cli.app import run_command
from chat_session.desk_options import DeskOptions
from chat_session.settings import SettingsOverrides
from testkit.backends import ServerBackend, store_of
from testkit.present import present


def test_the_specifications_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "REDIS_HOST": "redis.internal",
        "REDIS_PORT": "6380",
        "REDIS_PASSWORD": "secret",
        "REDIS_DB": "3",
        "DEFAULT_SESSION_TTL": "60",
        "MAX_MESSAGE_HISTORY": "7",
        "CLEANUP_INTERVAL": "5",
        "REDIS_MAX_RETRIES": "9",
        "REDIS_RETRY_DELAY": "50",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert {name: str(getattr(settings, name.lower())).removesuffix(".0") for name in values} == values
    assert "secret" not in repr(settings)


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "MAX_MESSAGE_HISTORY=5  # kept\nDEFAULT_SESSION_TTL=60\nUNKNOWN=1\n", encoding="utf-8"
    )
    monkeypatch.setenv("DEFAULT_SESSION_TTL", "61")
    settings = Settings.load(redis_db=2)
    assert (settings.max_message_history, settings.default_session_ttl, settings.redis_db) == (5, 61, 2)
    assert (settings.redis_password, settings.chat_session_url) == (None, None)


BAD = [
    *(("REDIS_PORT", value) for value in (0, 70_000, "abc")),
    *(("REDIS_DB", value) for value in (-1, "x")),
    *(("DEFAULT_SESSION_TTL", value) for value in (-5, 0, 1.5, "x", 315_360_001, "nevermore")),
    *(("MAX_MESSAGE_HISTORY", value) for value in (0, -1, 10_001, "x")),
    *(("MAX_MESSAGE_BYTES", value) for value in (0, -1)),
    *(("MAX_CONTENT_BYTES", value) for value in (0, -1, 8 * 1024 * 1024 + 1, "1 MiB")),
    *(("CLEANUP_INTERVAL", value) for value in (0, -1, "nan", "inf", "x")),
    *(("WAITING_TTL", value) for value in (0, -1, 1.5, 315_360_001, "never", "x")),
    *(("CLAIM_LEASE", value) for value in (0, -1, "nan", "inf", 315_360_001, "never")),
    *(("HAND_BACK_AFTER", value) for value in (0, -1, "nan", "inf", 315_360_001, "nevermore")),
    *(("TURNS", value) for value in ("maybe", 2, "always")),
    *(("REDIS_MAX_RETRIES", value) for value in (-1, "x")),
    *(("REDIS_RETRY_DELAY", value) for value in (-1, "x")),
    *(("STORE_TIMEOUT", value) for value in (0, "nan", "x", 60, 60.0, 3600)),
    *(("KEY_PREFIX", value) for value in ("a{", "a b", "a*", "a?", "[", "a\n", "x" * 65)),
    ("KEY_LAYOUT", "flat"),
]


@pytest.mark.parametrize(("variable", "value"), BAD)
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager(**{variable.lower(): value})
    assert refused.value.variable == variable
    assert str(refused.value).startswith(f"{variable}: ")
    monkeypatch.setenv(variable, str(value))
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert refused.value.variable == variable


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager.from_url("sqlite:///:memory:", defualt_session_ttl=5)  # type: ignore[call-arg]
    assert "Did you mean default_session_ttl?" in str(refused.value)


def test_a_store_named_twice_in_one_call_is_refused_but_in_the_environment_the_url_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager.from_url("redis://localhost", redis_host="elsewhere")
    assert refused.value.variable == "REDIS_HOST"
    monkeypatch.setenv("CHAT_SESSION_URL", "sqlite:///:memory:")
    monkeypatch.setenv("REDIS_HOST", "elsewhere")
    assert type(SessionManager()._store).__name__ == "SqliteStore"
    assert type(SessionManager(redis_host="elsewhere")._store).__name__ == "RedisStore"


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_the_setting_asks_for_tls_whatever_the_urls_scheme(scheme: str) -> None:
    plain = SessionManager.from_url(f"{scheme}://localhost:1/{'chat' if 'sentinel' in scheme else ''}", redis_tls=True)
    [server] = store_of(plain)._executor._topology.servers() or store_of(plain)._executor._topology._nodes.values()
    assert "SSL" in server._connections._pool.connection_class.__name__


async def test_every_key_begins_with_the_prefix(redis_backend: ServerBackend) -> None:
    async with redis_backend.open(key_prefix="app1:") as first, redis_backend.open() as second:
        await first.create_session("u", session_id="s", ttl=60)
        await first.add_message("s", {"from": "user", "text": "x"})
        assert await second.get_session("s") is None
        assert await second.get_active_sessions_count() == 0
        with redis_backend.server.client() as client:
            assert all(key.startswith(b"app1:") for key in client.scan_iter())
        await first.delete_session("s")


async def test_redis_host_port_and_password_make_a_connection(redis_backend: ServerBackend) -> None:
    async with SessionManager(redis_host="127.0.0.1", redis_port=redis_backend.server.port, redis_db=1) as manager:
        await manager.create_session("u", session_id="s", ttl=60)
        with redis_backend.server.client() as client:
            client.select(1)
            assert client.exists("session:s:meta")


@pytest.mark.parametrize("value", ["never", "Never", " never "])
def test_the_environment_can_say_that_new_sessions_never_expire(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DEFAULT_SESSION_TTL", value)
    assert Settings.load().default_session_ttl is None


@pytest.mark.parametrize("value", ["never", "Never", " never "])
def test_the_environment_can_say_that_no_session_goes_back_to_the_ai_by_itself(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HAND_BACK_AFTER", value)
    assert Settings.load().hand_back_after is None


def test_the_settings_of_the_desk_are_what_a_store_is_opened_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().desk == DeskOptions(waiting_ttl=7 * 86_400, claim_lease=120.0, hand_back_after=None)
    for name, value in (("WAITING_TTL", "60"), ("CLAIM_LEASE", "1.5"), ("HAND_BACK_AFTER", "30")):
        monkeypatch.setenv(name, value)
    assert Settings.load().desk == DeskOptions(waiting_ttl=60, claim_lease=1.5, hand_back_after=30.0)


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("false", False), ("", False)])
async def test_the_setting_for_turns_is_the_default_of_new_sessions(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("TURNS", value)
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        assert manager.settings.turns is expected
        for session_id, turns in (("as set", None), ("with", True), ("without", False)):
            await manager.create_session("u", session_id=session_id.replace(" ", "-"), turns=turns)
            await manager.add_message(session_id.replace(" ", "-"), {"from": "user", "text": "x"})
        assert sorted(await manager.pending_turns()) == (["as-set", "with"] if expected else ["with"])


def test_a_store_timeout_that_outlives_the_memory_of_repeated_writes_is_refused_with_the_reason() -> None:
    assert Settings.load(store_timeout=59.9).store_timeout == 59.9
    with pytest.raises(SettingsError, match=r"below 60.*repeated write.*twice"):
        Settings.load(store_timeout=60)


async def test_never_as_the_default_holds_for_a_session_that_another_program_wrote_without_a_ttl(
    redis_backend: ServerBackend,
) -> None:
    with redis_backend.server.client() as client:
        stamps = dict.fromkeys(("createdAt", "lastActiveAt"), "2026-01-31T08:00:00.000Z")
        client.hset("session:js:meta", mapping={"userId": "u", "sessionId": "js", "currentAgent": "ai", **stamps})
        client.set("session:js:agent", "ai")
        client.expire("session:js:meta", 60)
    async with redis_backend.open(default_session_ttl=None) as manager:
        assert present(await manager.get_session("js")).ttl is None
        await manager.add_message("js", {"from": "user", "text": "x"})
        assert await manager.get_session_ttl("js") == -1
        await manager.delete_session("js")


@pytest.fixture
def protected(redis_backend: ServerBackend) -> Any:
    """A server with a user "app" beside the default one, each with a password."""
    with redis_backend.server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">app-password", "~*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", ">default-password", "resetpass", ">default-password")
        yield f"redis://{{}}127.0.0.1:{redis_backend.server.port}/0"
        client.execute_command("ACL", "SETUSER", "default", "nopass")
        client.execute_command("ACL", "DELUSER", "app")


@pytest.mark.parametrize(
    ("login", "environment", "user"),
    [
        ("", {"REDIS_PASSWORD": "default-password"}, "default"),
        ("", {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "app-password"}, "app"),
        ("app@", {"REDIS_PASSWORD": "app-password"}, "app"),
        ("app@", {"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "app-password"}, "app"),
        ("app:app-password@", {"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "wrong"}, "app"),
        (":default-password@", {"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "wrong"}, "default"),
    ],
)
async def test_the_environments_password_completes_a_url_that_has_none(
    protected: str, monkeypatch: pytest.MonkeyPatch, login: str, environment: dict[str, str], user: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHAT_SESSION_URL", protected.format(login))
    for manager in (SessionManager(redis_max_retries=0), SessionManager.from_url(protected.format(login))):
        async with manager:
            assert await manager.get_session("s") is None
            [server] = store_of(manager)._executor._topology.servers()
            assert (server._connections._pool.connection_kwargs.get("username") or "default") == user


async def test_a_password_given_in_code_completes_a_url_and_contradicts_one_that_has_a_password(protected: str) -> None:
    async with SessionManager.from_url(protected.format(""), redis_password="default-password") as manager:
        assert await manager.get_session("s") is None
    for url in (protected.format(":other@"), "sqlite:///:memory:"):
        with pytest.raises(SettingsError) as refused:
            SessionManager.from_url(url, redis_password="default-password")
        assert refused.value.variable == "REDIS_PASSWORD"


@pytest.mark.parametrize("scheme", ["redis+cluster", "redis+sentinel"])
def test_the_environments_password_completes_urls_of_several_servers(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    manager = SessionManager.from_url(f"{scheme}://localhost:1/{'chat' if 'sentinel' in scheme else ''}")
    [server] = store_of(manager)._executor._topology.servers() or store_of(manager)._executor._topology._nodes.values()
    assert server._connections._pool.connection_kwargs["password"] == "secret"


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-16-le", "latin-1"])
def test_a_dotenv_file_in_another_encoding_is_refused_by_its_name(
    encoding: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "# 会话\n" if encoding != "latin-1" else "# é\n"
    Path(".env").write_bytes(f"{text}REDIS_PASSWORD=top-secret\n".encode(encoding))
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert refused.value.variable == ".env"
    assert str(Path(".env").absolute()) in str(refused.value)
    assert "UTF-8" in str(refused.value)
    assert refused.value.__context__ is None  # the decoder's error would hold the whole file
    assert run_command(["count"]) == 2
    shown = capfd.readouterr().err
    assert "UTF-8" in shown
    assert "Traceback" not in shown


def test_a_dotenv_file_with_a_byte_order_mark_is_read() -> None:
    Path(".env").write_text("REDIS_DB=3\n", encoding="utf-8-sig")
    assert Settings.load().redis_db == 3


def test_the_keywords_of_the_constructors_are_the_settings() -> None:
    assert get_type_hints(SettingsOverrides) == {
        name: field.annotation for name, field in Settings.model_fields.items()
    }
