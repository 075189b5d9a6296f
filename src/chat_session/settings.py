"""Settings from the environment and ``.env``; read at the edges only.

The names and units are the specification's. A bad value raises SettingsError naming the variable.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict
from urllib.parse import quote

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chat_session.addresses import parse_url, printable
from chat_session.desk_options import DeskOptions
from chat_session.errors import SettingsError
from chat_session.message import MAX_WRITE_BYTES, Limits
from chat_session.session import LARGEST_HISTORY, MAX_TTL

_ENV_FILE = ".env"
_SERVER = ("redis_host", "redis_port", "redis_db")
_LOGIN = ("redis_username", "redis_password")
_PRIVATE = frozenset(("chat_session_url", "redis_host", *_LOGIN))  # their values are shown in no error


def _number(lowest: int, highest: int, unit: str = "") -> Any:
    allowed = f"a whole number {unit and f'of {unit} '}from {lowest:,} to {highest:,}"
    return Field(ge=lowest, le=highest, description=allowed)


def _read_never(value: object) -> object:
    """The word for None, which an environment variable cannot hold."""
    return None if isinstance(value, str) and value.strip().lower() == "never" else value


_Text = Annotated[str | None, Field(description="text")]
_Ttl = Annotated[
    int | None,
    Field(ge=1, le=MAX_TTL, description=f"a whole number of seconds from 1 to {MAX_TTL:,}, or never (None in code)"),
    BeforeValidator(_read_never),
]
_StoreTimeout = Annotated[
    float,
    Field(
        gt=0,
        lt=60,  # for so long done.lua keeps the tokens of the calls
        allow_inf_nan=False,
        description="a number of seconds above 0 and below 60 (a store recognises a repeated write for 60 seconds, "
        "and a write that is repeated later could take effect twice)",
    ),
]
_Pause = Annotated[
    float,
    Field(gt=0, le=MAX_TTL, allow_inf_nan=False, description=f"a number of seconds above 0, up to {MAX_TTL:,}"),
]
_OptionalPause = Annotated[
    float | None,
    Field(
        gt=0,
        le=MAX_TTL,
        allow_inf_nan=False,
        description=f"a number of seconds above 0, up to {MAX_TTL:,}, or never (None in code)",
    ),
    BeforeValidator(_read_never),
]
_Host = Annotated[
    str, Field(pattern=r"^[\w.~:%-]+$", description="the name or address of a server, without a port or a password")
]
_Prefix = Annotated[
    str,
    Field(max_length=64, pattern=r"^[A-Za-z0-9._:~-]*$", description="up to 64 characters of A-Z a-z 0-9 . _ : ~ -"),
]


class SettingsBesideUrl(TypedDict, total=False):
    """The settings as keywords, so that editors complete them. The same names and types as in ``Settings``."""

    redis_host: str
    redis_port: int
    redis_username: str | None
    redis_password: str | None
    redis_db: int
    redis_tls: bool
    redis_tls_ca_file: str | None
    redis_tls_cert_file: str | None
    redis_tls_key_file: str | None
    redis_max_retries: int
    redis_retry_delay: int
    redis_wait_replicas: int
    redis_wait_timeout: int
    store_timeout: float
    default_session_ttl: int | None
    max_message_history: int
    max_message_bytes: int
    max_content_bytes: int
    cleanup_interval: float
    waiting_ttl: int
    claim_lease: float
    hand_back_after: float | None
    turns: bool
    watch_buffer: int
    key_prefix: str
    key_layout: Literal["plain", "tagged"] | None


class SettingsOverrides(SettingsBesideUrl, total=False):
    chat_session_url: str | None


class Settings(BaseSettings):
    """All settings; each field is the variable of the same name in capitals, its description what is allowed."""

    model_config = SettingsConfigDict(
        env_file=_ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    chat_session_url: _Text = None
    redis_host: _Host = "localhost"
    redis_port: Annotated[int, _number(1, 65_535)] = 6379
    redis_username: _Text = None
    redis_password: Annotated[str | None, Field(repr=False, description="text")] = None
    redis_db: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 0
    redis_tls: Annotated[bool, Field(description="true or false")] = False
    redis_tls_ca_file: _Text = None
    redis_tls_cert_file: _Text = None
    redis_tls_key_file: _Text = None
    redis_max_retries: Annotated[int, _number(0, 100)] = 3
    redis_retry_delay: Annotated[int, _number(0, 60_000, "milliseconds")] = 1000
    redis_wait_replicas: Annotated[int, _number(0, 100)] = 0
    redis_wait_timeout: Annotated[int, _number(1, 60_000, "milliseconds")] = 1000
    store_timeout: _StoreTimeout = 10.0

    default_session_ttl: _Ttl = 86_400
    max_message_history: Annotated[int, _number(1, LARGEST_HISTORY)] = 100
    max_message_bytes: Annotated[int, _number(1, 64 * 1024 * 1024, "bytes")] = 256 * 1024
    max_content_bytes: Annotated[int, _number(1, MAX_WRITE_BYTES, "bytes")] = 1024 * 1024
    cleanup_interval: _Pause = 3600.0
    waiting_ttl: Annotated[int, _number(1, MAX_TTL, "seconds")] = 604_800
    claim_lease: _Pause = 120.0
    hand_back_after: _OptionalPause = None
    turns: Annotated[bool, Field(description="true or false")] = False
    watch_buffer: Annotated[int, _number(4096, 64 * 1024 * 1024, "bytes")] = 256 * 1024
    key_prefix: _Prefix = ""
    key_layout: Annotated[Literal["plain", "tagged"] | None, Field(description="plain or tagged")] = None

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given by name wins over it.

        A store named twice in one call, by its URL and by its host, is refused; in the environment
        CHAT_SESSION_URL wins over REDIS_HOST, REDIS_PORT and REDIS_DB. REDIS_USERNAME and REDIS_PASSWORD
        complete a URL that has no password.
        """
        for name in given:
            if name not in cls.model_fields:
                close = get_close_matches(name, cls.model_fields, 1)
                hint = f" Did you mean {close[0]}?" if close else ""
                raise SettingsError(name.upper(), f"There is no such setting.{hint}")
        if given.get("chat_session_url") is not None:
            for name in _SERVER:
                if name in given:
                    raise SettingsError(
                        name.upper(), "It cannot be given together with CHAT_SESSION_URL. Give one of the two."
                    )
        elif not given.keys().isdisjoint(_SERVER):
            given["chat_session_url"] = None  # what is given in code wins over the environment's URL
        settings = cls._read(given)
        url = settings.chat_session_url
        for name in _LOGIN:
            if given.get(name) is not None and url and (url.startswith("sqlite:") or parse_url(url).password):
                raise SettingsError(
                    name.upper(), "CHAT_SESSION_URL names a store and who connects to it. Give one of the two."
                )
        return settings

    @property
    def limits(self) -> Limits:
        """Of a message and of all messages of one call."""
        return Limits(self.max_message_bytes, self.max_content_bytes)

    @property
    def desk(self) -> DeskOptions:
        """What a store needs to know for the desk."""
        return DeskOptions(self.waiting_ttl, self.claim_lease, self.hand_back_after)

    @property
    def server_url(self) -> str:
        """The URL of the store, from whichever variables it comes. It may have a password."""
        if self.chat_session_url is not None:
            return self.chat_session_url
        scheme = "rediss" if self.redis_tls else "redis"
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"{scheme}://{host}:{self.redis_port}/{self.redis_db}"

    @property
    def address(self) -> str:
        """The store's URL as it may be shown."""
        user = quote(self.redis_username) + "@" if self.chat_session_url is None and self.redis_username else ""
        return printable(self.server_url).replace("://", f"://{user}", 1)

    @classmethod
    def _read(cls, given: dict[str, Any]) -> Self:
        _check_encoding(Path(_ENV_FILE))
        try:
            return cls(**given)
        except ValidationError as error:
            problem = _explain(error)
        raise problem  # not while the error is handled, which holds the value, perhaps a password

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, printable(value) if name == "chat_session_url" and value is not None else value


def _check_encoding(file: Path) -> None:
    """UTF-8, and not UTF-16 that happens to be valid UTF-8: its variables would be passed over in silence."""
    if not file.is_file():
        return
    raw = file.read_bytes()
    if b"\0" in raw or raw.decode(errors="ignore").encode() != raw:
        raise SettingsError(_ENV_FILE, f"The file {file.absolute()} is not UTF-8 text. Save it in the encoding UTF-8.")


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=True)[0]
    name = str(first["loc"][0])
    shown = "" if name in _PRIVATE else f", not {str(first['input'])[:60]!r}"
    return SettingsError(name.upper(), f"The value must be {Settings.model_fields[name].description}{shown}.")
