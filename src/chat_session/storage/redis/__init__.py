"""The store on Redis and Valkey: from options or from a client to a RedisStore."""

from chat_session.storage.redis.store import RedisStore as RedisStore
from chat_session.storage.redis.topology import address_of as address_of
