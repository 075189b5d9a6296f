"""URLs of stores: which ones are accepted, and that no password is ever shown."""

import asyncio
import contextlib
import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_session import SessionManager, Settings, SettingsError, StoreDenied, blocking
from chat_session.addresses import printable
from chat_session.cli.app import _COMMANDS, run_command
from chat_session.errors import ChatSessionError
from testkit.backends import ServerBackend

ODD = [
    "",
    "#",
    "?",
    "/",
    "@",
    ":",
    "%",
    "&",
    "=",
    " ",
    "\n",
    "[",
    "]",
    "\\",
    "℀",
    "％",
    "é",
    "\u202e",
    "%2",
    "://",
    ",",
    "+",
    ";",
]
HEAD, TAIL = "qXk7Wv", "zR9pJm"  # the two ends of every secret: neither is ever shown
REFUSING = "127.0.0.1:1"  # nothing listens there


@st.composite
def urls_with_a_secret(draw: st.DrawFn) -> str:
    secret = HEAD + "".join(draw(st.lists(st.sampled_from(ODD), max_size=3))) + TAIL
    if draw(st.booleans()):
        secret = quote(secret, safe=draw(st.sampled_from(["", "/", "@", "?#"])))
    scheme = draw(
        st.sampled_from(["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "unix", "http"])
    )
    path = {"unix": "/nowhere/redis.sock"}.get(
        scheme, "/service" if "sentinel" in scheme else draw(st.sampled_from(["", "/", "/0"]))
    )
    host = "" if scheme == "unix" else draw(st.sampled_from([REFUSING, f"{REFUSING},{REFUSING}", "127.0.0.1:x"]))
    form = draw(st.sampled_from(["app:{}@", ":{}@", "{}@", "a:p:{}@", "a@b:{}@", "", "", ""]))
    query = draw(st.sampled_from(["", "?password={}", "?db=0&ssl_password={}", "?username=app&password={}", "?{}=1"]))
    if not form and not query:
        form = ":{}@"
    if form == "{}@":
        secret = secret.replace(":", "")  # the part before a colon is a user name, which is shown
    if query == "?{}=1" and "{}" in form:
        query = ""
    return f"{scheme}://{form}{host}{path}{query}".replace("{}", secret)


def find_secret(shown: str) -> bool:
    return HEAD in shown or TAIL in shown


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error with all its causes and contexts, also those that a traceback leaves out."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


def say_all_of(error: BaseException) -> str:
    texts = [f"{each} {each!r} {each.args} {vars(each)}" for each in chain(error)]
    return "\n".join([*texts, *traceback.format_exception(error)])


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(logging.Formatter("%(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@given(url=urls_with_a_secret())
@settings(max_examples=300, deadline=None)
def test_no_error_and_no_representation_shows_the_secret_of_a_url(url: str) -> None:
    assert not find_secret(printable(url))

    async def use() -> str:
        async with SessionManager.from_url(url, redis_max_retries=0, store_timeout=1.0) as manager:
            shown = f"{manager!r} {manager.settings!r} {manager.settings} {manager.settings.address} {manager._store!r}"
            with pytest.raises(ChatSessionError) as failed:
                await manager.get_session("s")
            return shown + say_all_of(failed.value)

    with logged() as log:
        try:
            shown = asyncio.run(use())
        except SettingsError as error:
            shown = say_all_of(error)
    assert not find_secret(shown + log.getvalue())


ARGUMENTS = {
    "create": ["u"],
    "show": ["s"],
    "history": ["s"],
    "watch": ["s"],
    "say": ["s", "hello"],
    "switch": ["s", "human"],
    "ttl": ["s", "60"],
    "extend": ["s"],
    "delete": ["s"],
    "list": ["u"],
    "import": ["in.jsonl", "--user", "u"],
    "export": ["out.jsonl"],
}


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_no_command_shows_the_secret_of_a_url(command: str, json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_MAX_RETRIES", "0")
    Path("in.jsonl").write_text('{"sessionId": "s", "messages": [{"from": "user", "text": "x"}]}\n', encoding="utf-8")

    @given(url=urls_with_a_secret())
    @settings(max_examples=15, deadline=None)
    def run(url: str) -> None:
        where = ["--from", url, "--to", url] if command == "migrate" else ["--url", url]
        shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown), logged() as log:
            exit_code = run_command([command, *ARGUMENTS.get(command, []), *where, *(["--json"] if json else [])])
        assert exit_code != 0
        assert not find_secret(shown.buffer.getvalue().decode() + log.getvalue())

    run()


def test_the_settings_of_a_blocking_manager_show_no_secret() -> None:
    url = f"redis://app:{HEAD}@{REFUSING}/0"
    with blocking.SessionManager.from_url(url) as manager:
        assert not find_secret(f"{manager!r} {getattr(manager, 'settings', '')!r}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://app:secret@h:1/2", "redis://app@h:1/2"),
        ("redis://:secret@h", "redis://h"),
        ("redis://", "redis://"),
        ("redis://:secret@:6379/1", "redis://:6379/1"),
        ("redis+cluster://:secret@:6379", "redis+cluster://…"),
        ("redis://token@h", "redis://h"),
        ("redis://h?password=secret&db=2&ssl_password=x", "redis://h?db=2"),
        ("redis+sentinel://app:secret@h1:1,h2/chat/3", "redis+sentinel://app@h1:1,h2/chat/3"),
        ("rediss+cluster://app:a%40b@h1,[::1]:7000", "rediss+cluster://app@h1,[::1]:7000"),
        ("unix://app:secret@/run/redis.sock?db=1", "unix://app@/run/redis.sock?db=1"),
        ("redis://app:secret#x@h", "redis://…"),
        ("redis://app:12?34@h", "redis://…"),
        ("redis://app:12/34@h", "redis://…"),
        ("redis://app:se@cret@h", "redis://…"),
        ("sqlite:///a#b@c.db?mode=ro", "sqlite:///a#b@c.db?mode=ro"),
        ("sqlite://app:secret@h/x", "…"),
        ("secret", "…"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_secret(url: str, shown: str) -> None:
    assert printable(url) == shown


@pytest.mark.parametrize("password", ["se@cret", "se#cret", "se?cret", "se/cret", "12/34", "12?34", "12#34"])
def test_a_password_that_must_be_encoded_is_refused_with_that_advice(password: str) -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager.from_url(f"redis://app:{password}@{REFUSING}/0")
    assert "percent-encoded" in str(refused.value)
    SessionManager.from_url(f"redis://app:{quote(password, safe='')}@{REFUSING}/0")


def test_a_host_that_is_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(redis_host=f"redis://app:{HEAD}@h")
    assert refused.value.variable == "REDIS_HOST"
    assert not find_secret(say_all_of(refused.value))


@pytest.mark.parametrize("password", ["a℀b", "100%é", "a b+c", "％", "#?/@:%"])
@pytest.mark.parametrize("part", ["login", "query"])
async def test_a_password_of_any_characters_connects_when_it_is_encoded(
    redis_backend: ServerBackend, password: str, part: str
) -> None:
    url = redis_backend.url
    encoded = quote(password, safe="")
    with redis_backend.server.client() as client:
        client.execute_command("ACL", "SETUSER", "odd", "on", f">{password}", "~*", "+@all")
        try:
            url = (
                url.replace("unix://", f"unix://odd:{encoded}@")
                if part == "login"
                else f"{url}{'&' if '?' in url else '?'}username=odd&password={encoded}"
            )
            async with SessionManager.from_url(url) as manager:
                assert await manager.get_session("s") is None
        finally:
            client.execute_command("ACL", "DELUSER", "odd")


@pytest.mark.parametrize(
    ("options", "words"),
    [("timeuot=1", "does not know"), ("ssl_cert_reqs=some&db=1", "db, ssl_cert_reqs"), ("protocol=x", "protocol")],
)
def test_an_option_that_cannot_be_used_is_named_if_it_exists(options: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        SessionManager.from_url(f"rediss://{REFUSING}?{options}")


@pytest.mark.parametrize("form", ["redis://app:{}@127.0.0.1:{}", "redis://127.0.0.1:{1}?username=app&password={0}"])
async def test_a_refused_password_is_not_shown(redis_backend: ServerBackend, form: str) -> None:
    with logged() as log:
        async with SessionManager.from_url(form.format(HEAD, redis_backend.server.port)) as manager:
            with pytest.raises(StoreDenied) as denied:
                await manager.get_session("s")
    assert not find_secret(say_all_of(denied.value) + log.getvalue())
