"""How safe an acknowledged write is on the servers of a run. The report names it."""

from typing import Any

from testkit.backends import Backend, RedisBackend


def durability_of(backend: Backend) -> dict[str, str]:
    """When writes are synced to the disk, and how many replicas must have them. Empty for an embedded store."""
    if not isinstance(backend, RedisBackend):
        return {}
    with backend.clients() as clients:
        config: Any = clients[0].config_get("append*")
        info: Any = clients[0].info("replication")
    synced = config["appendfsync"] if config["appendonly"] == "yes" else "not saved"
    wanted, replicas = backend.settings.get("redis_wait_replicas", 0), info["connected_slaves"]
    return {"appendfsync": synced, "WAIT": f"{wanted} of {replicas} replicas"}
