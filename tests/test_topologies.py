"""What one server does not show: clients passed in, redirections, replicas, and a full queue."""

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import RedisCluster, Sentinel
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from chat_session import (
    Hooks,
    Inspector,
    SessionManager,
    SettingsError,
    StoreCorrupt,
    StoreDenied,
    StoreIncompatible,
    StoreUnavailable,
)
from chat_session.storage.redis.index import due
from chat_session.storage.redis.keys import due_member
from chat_session.storage.redis.net import pipeline
from chat_session.telemetry.prometheus import PrometheusHooks
from chat_session.testing import until_dead
from testkit.backends import (
    ACL,
    ClusterBackend,
    SentinelBackend,
    ServerBackend,
    StartBackend,
    start_backend_in_thread,
    store_of,
)
from testkit.fault_proxy import no_fault, open_proxies
from testkit.present import present

TEXT = {"from": "user", "text": "x"}


@pytest.fixture
def cluster(start_empty: StartBackend) -> ClusterBackend:
    backend = start_empty("cluster")
    assert isinstance(backend, ClusterBackend)
    return backend


@pytest.fixture
def sentinel(start_empty: StartBackend) -> SentinelBackend:
    backend = start_empty("sentinel")
    assert isinstance(backend, SentinelBackend)
    return backend


async def use(manager: SessionManager) -> None:
    for i in range(20):
        await manager.create_session(f"u{i % 3}", session_id=f"s{i}", ttl=600)
        await manager.add_message(f"s{i}", TEXT)
    assert await manager.get_active_sessions_count() == 20
    assert len(await manager.get_user_sessions("u0")) == 7
    assert [len(await manager.get_history(f"s{i}")) for i in range(20)] == [1] * 20


async def test_on_a_cluster_an_error_after_the_change_does_not_say_that_nothing_was_done(server_folder: Path) -> None:
    async with start_backend_in_thread("cluster", server_folder / "damaged") as cluster:  # proxies change what it says
        meta, due_bucket = cluster.keys.meta("s"), cluster.keys.due("s")
        owners = cluster.server.owners()

        def damage_the_index_after_the_change() -> str:
            with owners[key_slot(meta)].client() as sessions, owners[key_slot(due_bucket)].client() as index:
                if sessions.hget(meta, "ttl") == b"900":
                    index.delete(due_bucket)
                    index.set(due_bucket, "of another type")
            return "pass"

        async with open_proxies(cluster) as (url, proxies), SessionManager.from_url(url) as manager:
            await manager.create_session("u", session_id="s", ttl=600)
            for proxy in proxies:
                proxy.fault = damage_the_index_after_the_change
            with pytest.raises(StoreCorrupt) as caught:
                await manager.set_session_ttl("s", 900)
            for proxy in proxies:
                proxy.fault = no_fault
        assert caught.value.outcome_unknown


async def test_a_session_that_is_created_although_its_users_list_is_damaged_is_not_said_to_be_missing(
    cluster: ClusterBackend,
) -> None:
    async with cluster.open() as manager:
        await manager.create_session("another", session_id="first")
        with cluster.clients() as clients:
            user_list = cluster.keys.user("u")
            for client in clients:
                try:
                    client.set(user_list, "of another type")
                except ResponseError:  # the key is on another node
                    continue
        with pytest.raises(StoreCorrupt, match="a part of what was asked was done") as caught:
            await manager.create_session("u", session_id="s")
        assert caught.value.outcome_unknown
        assert await manager.is_session_active("s")


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3, "decode_responses": True}])
async def test_a_cluster_client_handed_in_works_and_stays_open(
    cluster: ClusterBackend, options: dict[str, Any]
) -> None:
    host, port = cluster.server.addresses[0]
    client = RedisCluster(host=host, port=port, **options)
    async with SessionManager(client) as manager:
        await use(manager)
    assert await client.ping()
    await client.aclose()


async def test_a_cluster_of_the_newest_valkey_works(start_empty: StartBackend) -> None:
    async with start_empty("cluster-valkey").open() as manager:
        await use(manager)
        assert not [finding for finding in await Inspector(manager).diagnose() if finding.level == "error"]


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}])
async def test_a_client_made_by_sentinel_works_and_stays_open(
    sentinel: SentinelBackend, options: dict[str, Any]
) -> None:
    asked = Sentinel(sentinel.server.sentinel_addresses)  # type: ignore[no-untyped-call]
    client = asked.master_for("chat", **options)
    async with SessionManager(client) as manager:
        await use(manager)
    assert await client.ping()
    await client.aclose()
    await asked.aclose()


@pytest.mark.parametrize("name", ["cluster-tls", "sentinel-tls"])
async def test_all_nodes_may_speak_tls_and_ask_for_certificates(start_empty: StartBackend, name: str) -> None:
    backend = start_empty(name)
    async with backend.open() as manager:
        await use(manager)
        assert not [finding for finding in await Inspector(manager).diagnose() if finding.level == "error"]
    async with SessionManager.from_url(backend.url.replace("rediss", "redis"), store_timeout=1.0) as plain:
        with pytest.raises(StoreUnavailable):
            await plain.get_session("s0")


@pytest.mark.parametrize("name", ["cluster", "sentinel"])
async def test_the_user_of_a_url_that_names_several_hosts_needs_the_documented_rights_and_no_others(
    start_empty: StartBackend, name: str
) -> None:
    backend = start_empty(name)
    more = ("+cluster|slots",) if name == "cluster" else ()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for server in backend.server.servers]
        for client in clients:
            client.execute_command("ACL", "SETUSER", "app", "on", ">p@ss", *ACL.split(), *more)
            stack.callback(client.execute_command, "ACL", "DELUSER", "app")
        async with SessionManager.from_url(backend.url.replace("://", "://app:p%40ss@")) as manager:
            await use(manager)
        async with SessionManager.from_url(backend.url.replace("://", "://app:wrong@")) as stranger:
            with pytest.raises(StoreDenied):
                await stranger.get_session("s0")


async def test_a_slot_that_moves_is_followed(cluster: ClusterBackend) -> None:
    async with cluster.open() as manager:
        await use(manager)
        slot = key_slot(cluster.keys.meta("s1"))
        source = cluster.server.owners()[slot]
        target = next(server for server in cluster.server.primaries() if server is not source)

        async def write() -> int:
            for i in range(2, 202):
                await manager.add_message("s1", {"id": f"m{i}", **TEXT})
                assert [message.seq for message in await manager.get_history("s1", 2)] == [i - 1, i]
            return i

        writing = asyncio.create_task(write())
        await asyncio.to_thread(cluster.server.migrate_slot, slot, target)
        assert await writing == 201
        assert present(await manager.get_session("s1")).message_count == 201
        await asyncio.to_thread(cluster.server.migrate_slot, slot, source)
        assert (await manager.add_message("s1", TEXT)).seq == 202


@pytest.mark.parametrize("protocol", [2, 3])
async def test_entries_that_are_marked_as_dead_are_removed_with_the_session(
    cluster: ClusterBackend, protocol: int
) -> None:
    """Their score is 0, which RESP3 returns as a number. It must not be taken for a missing entry."""
    host, port = cluster.server.addresses[0]
    client = RedisCluster(host=host, port=port, protocol=protocol)
    async with SessionManager(client) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        for entry in cluster.keys.entries("s", "u"):
            await client.zadd(entry.key, {entry.member: 0})
        assert (await manager.delete_session("s")).success
        assert set(cluster.server.scan_keys()) <= {b"{desk}:counts"}
    await client.aclose()


class FirstRetry(Hooks):
    """Sets an event when a command is sent again."""

    def __init__(self) -> None:
        self.happened = asyncio.Event()

    def retried(self, name: str, attempt: int, reason: str) -> None:
        self.happened.set()


@pytest.mark.parametrize("node", [0, 1, 2])
async def test_a_scan_that_lost_an_answer_goes_on_at_the_same_node(cluster: ClusterBackend, node: int) -> None:
    heard = FirstRetry()
    owners = cluster.server.owners()
    for i in range(30):
        ids = cluster.keys.session(f"orphan{i}").ids
        with owners[key_slot(ids)].client() as client:
            client.hset(ids, "m", "1:0123456789abcdef")
    async with cluster.open(hooks=[heard], store_timeout=4.0) as manager:
        await manager.get_active_sessions_count()
        with cluster.server.primaries()[node].frozen():
            diagnosing = asyncio.create_task(Inspector(manager).diagnose())
            await heard.happened.wait()
        [orphans] = [finding for finding in await diagnosing if finding.subject == "orphans"]
    assert orphans.text.startswith("Found 30 sessions")


async def test_a_node_of_a_cluster_behind_a_plain_url_says_so(cluster: ClusterBackend) -> None:
    host, port = cluster.server.addresses[0]
    async with SessionManager.from_url(f"redis://{host}:{port}", redis_max_retries=1) as manager:
        with pytest.raises(StoreIncompatible) as failed:
            await asyncio.gather(
                *(manager.get_session(f"s{i}") for i in range(20))
            )  # at least one of twenty is on another node
        assert "redis+cluster://" in str(failed.value)


async def test_a_server_without_cluster_behind_a_cluster_url_says_so(redis_backend: ServerBackend) -> None:
    url = f"redis+cluster://127.0.0.1:{redis_backend.server.port}"
    async with SessionManager.from_url(url) as manager:
        with pytest.raises(StoreIncompatible) as failed:
            await manager.get_session("s")
        assert "cluster" in str(failed.value)


def test_the_plain_layout_is_refused_on_a_cluster() -> None:
    with pytest.raises(SettingsError) as refused:
        SessionManager.from_url("redis+cluster://127.0.0.1:1", key_layout="plain")
    assert refused.value.variable == "KEY_LAYOUT"


async def test_the_tagged_layout_may_be_used_on_one_server(redis_backend: ServerBackend) -> None:
    async with redis_backend.open(key_layout="tagged") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            assert client.exists("session:{s}:meta")


async def test_an_acknowledgement_may_mean_on_two_replicas_which_many_calls_wait_for_at_once(
    sentinel: SentinelBackend,
) -> None:
    with sentinel.server.client() as client:

        def waits() -> int:
            return int(client.info("commandstats").get("cmdstat_wait", {}).get("calls", 0))

        async with sentinel.open(redis_wait_replicas=2) as manager:
            before = waits()
            await use(manager)
            await manager.switch_agent("s0", "human")
            assert (await manager.delete_session("s0")).success
            assert waits() - before == 42  # once for each write, and never for a read
            before = waits()
            await asyncio.gather(*(manager.add_message("s1", TEXT) for _ in range(100)))
            assert 0 < waits() - before <= 5


async def test_too_few_replicas_are_no_acknowledgement_and_a_repeat_is_no_double(sentinel: SentinelBackend) -> None:
    async with sentinel.open() as plain:
        await plain.create_session("u", session_id="s", ttl=600)
        options = {"redis_wait_replicas": 3, "redis_wait_timeout": 50, "redis_max_retries": 1, "redis_retry_delay": 10}
        async with sentinel.open(**options) as manager:
            with pytest.raises(StoreUnavailable) as failed:
                await manager.add_message("s", {"id": "m", **TEXT})
            assert failed.value.outcome_unknown
            assert failed.value.attempts == 2
            assert re.search("[0-2] of 3 replicas", str(failed.value))
            [server] = store_of(manager)._executor._topology.servers()
            assert server._connection is None  # the next call asks Sentinel again
        again = await plain.add_messages("s", failed.value.messages)
        assert [(r.seq, r.duplicate) for r in again] == [(1, True)]


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize(("most", "batches"), [(pipeline.MAX_COMMANDS, 1), (10, 20)])
async def test_calls_made_at_once_share_round_trips_up_to_a_bound(
    redis_backend: ServerBackend, monkeypatch: pytest.MonkeyPatch, most: int, batches: int, far: bool
) -> None:
    """Sent batches are counted, not replies: the replies to two batches to a remote server may arrive together."""
    monkeypatch.setattr(pipeline, "MAX_COMMANDS", most)
    monkeypatch.setattr(pipeline, "REMOTE_RTT", 0.0 if far else float("inf"))
    send = AbstractConnection.send_packed_command
    sent = 0

    async def count(connection: AbstractConnection, *args: Any, **options: Any) -> None:
        nonlocal sent
        sent += 1
        await send(connection, *args, **options)

    async with redis_backend.open() as manager:
        await asyncio.gather(*(manager.create_session("u", session_id=f"s{i}", ttl=600) for i in range(200)))
        await store_of(manager)._executor._checking
        monkeypatch.setattr(AbstractConnection, "send_packed_command", count)
        agents = await asyncio.gather(*(manager.get_session_agent(f"s{i}") for i in range(200)))
        assert agents == ["ai"] * 200
        assert sent == batches
        assert await manager.get_session_agent("s0") == "ai"
        assert sent == batches + 1


async def test_on_a_cluster_calls_made_at_once_leave_together_for_each_node(cluster: ClusterBackend) -> None:
    async with cluster.open() as manager:
        await asyncio.gather(*(manager.create_session("u", session_id=f"s{i}", ttl=600) for i in range(300)))
        with ExitStack() as stack:
            clients = [stack.enter_context(node.client()) for node in cluster.server.primaries()]
            before = [client.info("stats")["total_reads_processed"] for client in clients]
            await asyncio.gather(*(manager.get_session_agent(f"s{i}") for i in range(300)))
            after = [client.info("stats")["total_reads_processed"] for client in clients]
        assert all(0 < now - then < 30 for then, now in zip(before, after, strict=True))  # of a hundred calls each


async def test_a_full_queue_makes_callers_wait_and_is_told(
    redis_backend: ServerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullQueue(Hooks):
        waited = 0

        def queue_full(self, address: str) -> None:
            type(self).waited += 1

    monkeypatch.setattr(pipeline, "MAX_QUEUE", 10)
    registry = CollectorRegistry()
    hooks = [FullQueue(), PrometheusHooks(registry)]
    async with redis_backend.open(hooks=hooks, max_message_history=1000) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        results = await asyncio.gather(*(manager.add_message("s", TEXT) for _ in range(200)))
        assert [result.seq for result in results] == list(range(1, 201))  # in order
        assert 0 < FullQueue.waited < 200  # each is reported once, and is admitted in order
        [server] = [each.address for each in store_of(manager)._executor._topology.servers()]
        assert registry.get_sample_value("chat_session_queue_full_total", {"server": server}) == FullQueue.waited
        assert len(next(iter(store_of(manager)._executor._topology.servers()))._queue) == 0


async def test_the_doctor_looks_at_every_node_of_a_cluster(cluster: ClusterBackend) -> None:
    async with cluster.open() as manager:
        await use(manager)
        with cluster.server.client() as client:
            client.delete(cluster.keys.meta("s1"))
            client.zrem(cluster.keys.due("s2"), due_member("s2", "u2"))
            client.zrem(cluster.keys.user("u2"), "s2")
        findings = await Inspector(manager).diagnose()
        assert len([f for f in findings if f.subject.startswith("version at")]) == 3
        levels = {f.subject: f.level for f in findings if " at " not in f.subject}
        assert (levels["orphans"], levels["index"]) == ("error", "error")
        await Inspector(manager).diagnose(repair=True)
        levels = {f.subject: f.level for f in await Inspector(manager).diagnose() if " at " not in f.subject}
        assert (levels["orphans"], levels["index"]) == ("ok", "ok")
        assert await manager.get_active_sessions_count() == 19


async def test_on_a_cluster_no_entry_is_later_than_its_deadline(cluster: ClusterBackend) -> None:
    async with cluster.open() as manager:
        await asyncio.gather(*(manager.create_session("u", session_id=f"s{i}", ttl=600) for i in range(300)))
        for i in range(0, 300, 10):
            await manager.set_session_ttl(f"s{i}", 500)
        with cluster.server.client() as client:
            for i in range(300):
                deadline = client.execute_command("PEXPIRETIME", cluster.keys.meta(f"s{i}"))
                assert client.zscore(cluster.keys.due(f"s{i}"), due_member(f"s{i}", "u")) < deadline


async def test_on_a_cluster_counts_that_meet_are_exact(
    cluster: ClusterBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "BATCH", 3)  # so that a bucket takes several
    async with cluster.open() as one, cluster.open() as other:
        ids = [f"s{i}" for i in range(80)]
        await asyncio.gather(*(one.create_session("u", session_id=each, ttl=60) for each in ids))
        await asyncio.gather(*(one.add_message(each, TEXT) for each in ids))
        await asyncio.gather(*(one.set_session_ttl(each, 6) for each in ids))
        due_at = asyncio.get_running_loop().time() + 6
        await asyncio.sleep(3)
        await asyncio.gather(*(one.extend_session(each) for each in ids))  # which leaves the entries as they are
        await asyncio.sleep(due_at - asyncio.get_running_loop().time() + 0.01)
        counts = await asyncio.gather(*(manager.get_active_sessions_count() for manager in (one, other) * 2))
        assert counts == [80] * 4


async def test_on_a_cluster_a_users_entry_goes_though_lists_and_sweeps_race(cluster: ClusterBackend) -> None:
    async with cluster.open() as one, cluster.open() as other:
        for i in range(60):
            await one.create_session(f"u{i % 3}", session_id=f"s{i}", ttl=1)
        await until_dead(one, "s59")
        looks = [
            look for user in ("u0", "u1", "u2") for look in (one.get_user_sessions(user), other.get_user_sessions(user))
        ]
        sweeps = [manager.cleanup_expired_sessions() for manager in (one, other, one, other)]
        _, swept, _ = await asyncio.gather(
            asyncio.gather(*looks), asyncio.gather(*sweeps), other.get_active_sessions_count()
        )
        last = await one.cleanup_expired_sessions()
        assert sum(result.cleaned_count for result in (*swept, last)) == 60
        assert set(cluster.server.scan_keys()) <= {b"{desk}:counts"}
