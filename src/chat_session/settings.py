"""Settings from the environment and ``.env``; read at the edges only.

The names and units are the specification's. A bad value raises SettingsError naming the variable.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chat_session.errors import SettingsError
from chat_session.session import MAX_TTL

_CONNECTION = ("redis_host", "redis_port", "redis_db", "redis_username", "redis_password")


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
        description="a number of seconds above 0 and below 60 (a store recognises a repeated write for 60 seconds; "
        "one that is repeated later could take effect twice)",
    ),
]
_Pause = Annotated[
    float,
    Field(gt=0, le=MAX_TTL, allow_inf_nan=False, description=f"a number of seconds above 0, up to {MAX_TTL:,}"),
]
_Prefix = Annotated[
    str,
    Field(max_length=64, pattern=r"^[A-Za-z0-9._:~-]*$", description="up to 64 characters of A-Z a-z 0-9 . _ : ~ -"),
]


class Settings(BaseSettings):
    """All settings; each field is the variable of the same name in capitals, its description what is allowed."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    chat_session_url: _Text = None
    redis_host: Annotated[str, Field(min_length=1, description="the name or address of a server")] = "localhost"
    redis_port: Annotated[int, _number(1, 65_535)] = 6379
    redis_username: _Text = None
    redis_password: Annotated[str | None, Field(repr=False, description="text")] = None
    redis_db: Annotated[int, Field(ge=0, description="a whole number from 0")] = 0
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
    max_message_history: Annotated[int, _number(1, 10_000)] = 100
    max_message_bytes: Annotated[int, _number(1, 64 * 1024 * 1024, "bytes")] = 256 * 1024
    cleanup_interval: _Pause = 3600.0
    key_prefix: _Prefix = ""
    key_layout: Annotated[Literal["plain", "tagged"] | None, Field(description="plain or tagged")] = None

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given by name wins over it.

        A store named twice in one call, by its URL and by its host, is refused; in the
        environment CHAT_SESSION_URL wins over REDIS_*.
        """
        for name in given:
            if name not in cls.model_fields:
                close = get_close_matches(name, cls.model_fields, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise SettingsError(name.upper(), f"is not a setting{hint}")
        if given.get("chat_session_url") is not None:
            for name in _CONNECTION:
                if name in given:
                    raise SettingsError(name.upper(), "cannot be given together with CHAT_SESSION_URL")
        elif not given.keys().isdisjoint(_CONNECTION):
            given["chat_session_url"] = None  # what is given in code wins over the environment's URL
        try:
            return cls(**given)
        except ValidationError as error:
            raise _explain(error) from None


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=True)[0]
    name = str(first["loc"][0])
    shown = "" if "password" in name else f", not {str(first['input'])[:60]!r}"
    return SettingsError(name.upper(), f"The value must be {Settings.model_fields[name].description}{shown}.")
