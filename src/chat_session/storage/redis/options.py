"""What the store on Redis is opened with."""

from typing import Literal

from msgspec import Struct

from chat_session.desk_options import DeskOptions
from chat_session.storage.redis.net.options import ConnectionOptions


class RedisOptions(Struct, frozen=True, kw_only=True):
    connection: ConnectionOptions
    key_prefix: str
    key_layout: Literal["plain", "tagged"] | None  # None: what the topology needs
    default_ttl: int | None  # seconds; None: for ever
    max_history: int
    desk: DeskOptions
