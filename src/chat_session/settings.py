"""Settings from the environment and ``.env``; read at the edges only.

The names and units are the specification's. A bad value raises SettingsError naming the variable.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chat_session.errors import SettingsError
from chat_session.session import MAX_TTL

_CONNECTION = ("redis_host", "redis_port", "redis_db", "redis_username", "redis_password")


class Settings(BaseSettings):
    """All settings; each field is the variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    chat_session_url: str | None = None
    redis_host: Annotated[str, Field(min_length=1)] = "localhost"
    redis_port: Annotated[int, Field(ge=1, le=65535)] = 6379
    redis_username: str | None = None
    redis_password: str | None = Field(default=None, repr=False)
    redis_db: Annotated[int, Field(ge=0)] = 0
    redis_tls: bool = False
    redis_tls_ca_file: str | None = None
    redis_tls_cert_file: str | None = None
    redis_tls_key_file: str | None = None
    redis_max_retries: Annotated[int, Field(ge=0, le=100)] = 3
    redis_retry_delay: Annotated[int, Field(ge=0, le=60_000)] = 1000
    redis_wait_replicas: Annotated[int, Field(ge=0, le=100)] = 0
    redis_wait_timeout: Annotated[int, Field(ge=1, le=60_000)] = 1000
    store_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 10.0

    default_session_ttl: Annotated[int, Field(ge=1, le=MAX_TTL)] = 86_400
    max_message_history: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_message_bytes: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] = 256 * 1024
    cleanup_interval: Annotated[float, Field(gt=0, le=MAX_TTL, allow_inf_nan=False)] = 3600.0
    key_prefix: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._:~-]*$")] = ""
    key_layout: Literal["plain", "tagged"] | None = None

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
    variable = str(first["loc"][0]).upper()
    shown = "" if "PASSWORD" in variable else f", not {str(first['input'])[:60]!r}"
    problem = first["msg"][0].lower() + first["msg"][1:]
    return SettingsError(variable, f"{problem}{shown}")
