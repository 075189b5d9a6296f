"""The store on Redis and Valkey: from settings or from a client to a RedisStore."""

from chat_session.storage.redis.store import RedisStore as RedisStore
