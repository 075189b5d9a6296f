"""The URLs that name a store: how one is read, and how one is shown without its password."""

import re
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qsl, unquote, urlencode

from chat_session.errors import SettingsError

SCHEMES = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
    "sqlite:///",
)

# Stricter than urllib, which finds some host in any text: whatever is not exactly of this form may have a part
# of the password anywhere.
_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?"
    r"(?P<hosts>[^@/?#\s]*)"
    r"(?P<path>/[^@?#\x00-\x1f\x7f]*)?"
    r"(?:\?(?P<query>[^@#\s]*))?"
)
_HOST = re.compile(r"(?P<name>[\w.~%-]*|\[[\w.:%]+\])(?::(?P<port>\d{1,5}))?")
_PATHS = {
    "redis": (
        re.compile(r"/?|/\d{1,9}/?"),
        "The URL of a Redis server must end in its host and port, or in /NUMBER of a database.",
    ),
    "unix": (
        re.compile(r"/.+"),
        "The URL of a unix socket must be unix:///path/of.sock, or that with ?db=NUMBER at the end.",
    ),
    "redis+sentinel": (
        re.compile(r"/[\w.~%-]+(?:/\d{0,9})?"),
        "The URL for Sentinel must end in /SERVICE or /SERVICE/DATABASE.",
    ),
    "redis+cluster": (
        re.compile(r"/?|/0"),
        "A cluster has no numbered databases. Remove what follows the last host from the URL.",
    ),
}
_SHOWN_OPTIONS = frozenset(("db", "mode", "protocol", "timeout", "socket_timeout", "max_connections", "ssl_cert_reqs"))
_ADVICE = (
    "The value is not a URL such as redis://user:password@host:6379/0. In the user name and the password, the "
    "characters @ : / ? # % and spaces must be percent-encoded, for example @ as %40."
)


class StoreUrl(NamedTuple):
    """A URL of Redis servers in its parts. ``hosts`` and ``path`` are as they were written."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    options: dict[str, str]

    @property
    def topology(self) -> str:
        """The scheme without the mark of TLS."""
        return self.scheme.replace("rediss", "redis")

    def addresses(self, default_port: int) -> list[tuple[str, int]]:
        found = (_HOST.fullmatch(host) for host in self.hosts.split(","))
        return [(host["name"].strip("[]"), int(host["port"] or default_port)) for host in found if host]


def parse_url(url: str) -> StoreUrl:
    """Read the URL of Redis servers. Raises SettingsError that shows no part of it."""
    found = _URL.fullmatch(url.strip())
    if found is None:
        _refuse(_ADVICE)
    options = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    user = _decode(found["user"]) or options.pop("username", None)
    password = _decode(found["password"]) or options.pop("password", None)
    parsed = StoreUrl(found["scheme"], user, password, found["hosts"], found["path"] or "", options)
    if parsed.topology not in _PATHS:
        _refuse(f"The URL must begin with one of {' '.join(SCHEMES)}.")
    path, advice = _PATHS[parsed.topology]
    if not path.fullmatch(parsed.path):
        _refuse(advice)
    _check_hosts(parsed)
    return parsed


def parse_sqlite_url(url: str) -> tuple[str, str]:
    """The path and the mode: rwc, "rw" for a file that must exist, "ro" to read only. Raises SettingsError."""
    rest, _, query = url.partition(":")[2].partition("?")
    netloc, slash, path = rest.removeprefix("//").partition("/")
    mode = {"": "rwc", "mode=rw": "rw", "mode=ro": "ro"}.get(query)
    if netloc or not slash or not path or mode is None:
        allowed = "sqlite:///relative.db, sqlite:////absolute.db or sqlite:///:memory:"
        _refuse(f"An SQLite URL must be {allowed}. It may end in ?mode=rw or ?mode=ro; a ? in a name is written %3F.")
    return unquote(path), mode


def _check_hosts(url: StoreUrl) -> None:
    if url.topology == "unix":
        return
    hosts = url.hosts.split(",")
    if url.topology == "redis" and len(hosts) > 1:
        _refuse("A URL that names several hosts begins with redis+cluster:// or redis+sentinel://.")
    for host in hosts:
        found = _HOST.fullmatch(host)
        if found is None or not (found["name"] or url.topology == "redis"):  # there redis-py has a default
            _refuse(_ADVICE)
        if not 1 <= int(found["port"] or 1) <= 65_535:  # noqa: PLR2004
            _refuse("The port in the URL must be a number from 1 to 65,535.")


def _decode(text: str | None) -> str | None:
    if not text:
        return None
    decoded = unquote(text)
    if "\ufffd" in decoded and "\ufffd" not in text:
        _refuse("The percent-encoded characters of the user name and the password must be UTF-8.")
    return decoded


def _refuse(text: str) -> NoReturn:
    raise SettingsError("CHAT_SESSION_URL", text)


def printable(url: str) -> str:
    """The URL as it may be shown: without its password, and whatever cannot be read without all but its scheme."""
    start = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if start is None:
        return "…"
    if start == "sqlite:///":  # a path has no password, and may have any characters
        path, _, query = url.partition("?")
        return path + _show_options(dict(parse_qsl(query)))
    try:
        parsed = parse_url(url)
    except SettingsError:
        return start + "…"
    login = url.strip().removeprefix(start).rpartition("@")[0]
    user, _, password = login.partition(":")
    user = f"{user}@" if user and password else ""  # a user without a password may be a token
    return f"{start}{user}{parsed.hosts}{parsed.path}{_show_options(parsed.options)}"


def _show_options(options: dict[str, str]) -> str:
    shown = {name: value for name, value in options.items() if name in _SHOWN_OPTIONS}
    return f"?{urlencode(shown)}" if shown else ""
