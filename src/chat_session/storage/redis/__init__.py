"""The store on Redis and Valkey: from options or from a client to a RedisStore."""

from chat_session.storage.redis.net.options import ConnectionOptions as ConnectionOptions
from chat_session.storage.redis.net.topology import address_of as address_of
from chat_session.storage.redis.options import RedisOptions as RedisOptions
from chat_session.storage.redis.store import RedisStore as RedisStore
