"""R42 to R48: watchers whose subscriptions are cut, who are denied notifications, or who sleep; lost writes."""

import asyncio
import secrets
from typing import Any
from urllib.parse import urlsplit

from chaos.case import Allowances
from chaos.fault_tests.failovers import CONFIRMED, HEALTHY
from chaos.feed_scene import CUSTOMER, STAFF, FeedScene, longest_delay
from chaos.trial import Trial
from testkit.backends import ACL, ClusterBackend, RedisBackend, SentinelBackend
from testkit.servers import wait_until

SESSIONS = 8
CUT_EVERY = 0.1  # seconds
WITHOUT_NOTIFICATIONS = 2.0  # seconds in which everything is told without notifications
TOLERANCE = 1.5  # seconds more, on a busy machine
LEAST = 0.3  # seconds: if all is told sooner, notifications have arrived


async def cut(trial: Trial) -> None:
    """R42: the connections of subscriptions are killed, ten times a second."""
    backend = await trial.open_backend()
    scene = FeedScene(trial, backend, SESSIONS)

    async def cut_for_a_while(_scene: FeedScene) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + trial.pick(30.0, 5.0)
        with backend.clients() as clients:
            while loop.time() < end:
                for client in clients:
                    trial.faults["subscription cut"] += await asyncio.to_thread(_cut_subscriptions, client)
                await asyncio.sleep(CUT_EVERY)

    await scene.run(cut_for_a_while, workload=scene.writers())
    _limit_delay(trial)
    await scene.judge()


def _cut_subscriptions(client: Any) -> int:
    """Only watchers subscribe, and each process on one connection."""
    listed = [each for each in client.client_list() if each["sub"] != "0" or each.get("ssub", "0") != "0"]
    return sum(client.execute_command("CLIENT", "KILL", "ID", each["id"]) for each in listed)


async def silent_writers(trial: Trial) -> None:
    """R43: the writers' user has no right to the channels."""
    await _without_notifications(trial, writers_may=False, watchers_may=True)


async def deaf_watchers(trial: Trial) -> None:
    """R44: the watchers' user has none."""
    await _without_notifications(trial, writers_may=True, watchers_may=False)


async def _without_notifications(trial: Trial, *, writers_may: bool, watchers_may: bool) -> None:
    """All is told within 2 s, also the end of replies; the writers notice nothing, and the server logs nothing."""
    backend = await trial.open_backend()
    server_url = backend.url
    urls = {name: _add_user(backend, name, may) for name, may in (("writer", writers_may), ("watcher", watchers_may))}
    backend.url = urls["writer"]
    scene = FeedScene(trial, backend, SESSIONS, urls["watcher"])
    await asyncio.to_thread(backend.on_primaries, "ACL", "LOG", "RESET")

    async def go_on(scene: FeedScene) -> None:
        await scene.stream("streamer")
        await asyncio.sleep(trial.pick(30.0, 6.0))
        await scene.workers.kill("streamer")
        trial.faults["write without a notification"] += sum(op.kind == "append" for op in trial.recorder.history)

    await scene.run(go_on, workload=scene.writers())
    delay = _limit_delay(trial)
    if delay < LEAST:
        trial.break_rule(f"all was told within {delay:.2f} s, so notifications have arrived")
    if any(logged := await asyncio.to_thread(backend.on_primaries, "ACL", "LOG")):
        trial.break_rule(f"the server has logged missing rights: {logged[0][0]}")
    if refused := [op for op in trial.recorder.history if op.kind == "append" and op.error.startswith("StoreDenied")]:
        trial.break_rule(f"{len(refused)} appends were refused: {refused[0].error}")
    backend.url = server_url
    await scene.judge()


def _limit_delay(trial: Trial) -> float:
    """The longest time from an append to its delivery, in seconds; no more than what it takes without notifications."""
    delay, limit = longest_delay(trial), WITHOUT_NOTIFICATIONS + TOLERANCE
    trial.note(f"delivered {delay:.2f} s after the append at most")
    if delay > limit:
        trial.break_rule(f"a message was told {delay:.1f} s after its append; {limit:g} s are allowed")
    return delay


def _add_user(backend: RedisBackend[Any], name: str, may_use_channels: bool) -> str:
    """The URL of the store for a user with the documented rights, and with those to the channels or without."""
    password = secrets.token_hex(8)
    rights = [*ACL.split(), "+config|get", *(() if may_use_channels else ("resetchannels",))]
    backend.on_primaries("ACL", "SETUSER", name, "on", f">{password}", *rights)
    address = urlsplit(backend.url)
    return address._replace(netloc=f"{name}:{password}@{address.hostname}:{address.port}").geturl()


async def sentinel_failover(trial: Trial) -> None:
    """R45: the primary dies while messages and replies are told, and Sentinel promotes a replica."""
    backend: SentinelBackend = await trial.open_backend(store_timeout=10.0, **CONFIRMED)

    async def replace() -> None:
        old = await asyncio.to_thread(backend.server.kill_primary)
        await asyncio.to_thread(backend.server.wait_for_failover, old)
        await asyncio.to_thread(backend.server.restart, old)

    await _replace_primaries(trial, backend, replace)


async def cluster_failover(trial: Trial) -> None:
    """R46: the same on a cluster, where one primary of three dies."""
    backend: ClusterBackend = await trial.open_backend(
        "--cluster-node-timeout", "1500", store_timeout=10.0, **CONFIRMED
    )
    rng = trial.rng("slots")

    async def replace() -> None:
        slot = rng.randrange(16384)
        old = await asyncio.to_thread(backend.server.kill_primary, slot)
        await asyncio.to_thread(wait_until, lambda: slot in backend.server.owners(), "a replica has taken over")
        await asyncio.to_thread(backend.server.restart, old)

    await _replace_primaries(trial, backend, replace)


async def _replace_primaries(trial: Trial, backend: Any, replace: Any) -> None:
    scene = FeedScene(trial, backend, SESSIONS)

    async def disturb(scene: FeedScene) -> None:
        for number in range(2):
            await scene.stream(f"streamer{number}")
        for _ in range(trial.pick(5, 1)):
            await asyncio.sleep(trial.pick(3.0, 1.0))
            await replace()
            trial.faults["primary killed"] += 1
            await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)
        await asyncio.sleep(1.0)
        for number in range(2):
            await scene.workers.kill(f"streamer{number}")

    await scene.run(disturb, workload=scene.writers())
    resets = sum(op.kind == "told" and op.told["event"] == "reset" for op in trial.recorder.history)
    trial.note(f"{resets} resets were told")
    await scene.judge(Allowances(unconfirmed_reads=True))


async def frozen_watchers(trial: Trial) -> None:
    """R47: the processes that watch sleep for a minute, and go on."""
    backend = await trial.open_backend()
    scene = FeedScene(trial, backend, SESSIONS)

    async def freeze(scene: FeedScene) -> None:
        for _ in range(trial.pick(2, 1)):
            for name in scene.watching:
                scene.workers.freeze(name)
                trial.faults["watching process frozen"] += 1
            await asyncio.sleep(trial.pick(60.0, 4.0))
            for name in scene.watching:
                scene.workers.thaw(name)
            await asyncio.sleep(trial.pick(5.0, 1.0))

    await scene.run(freeze, workload=scene.writers())
    await scene.judge()


async def recreated(trial: Trial) -> None:
    """R48: sessions are deleted and created again while they are watched."""
    backend = await trial.open_backend()
    scene = FeedScene(trial, backend, SESSIONS)
    founder = trial.caller("again", scene.manager)

    async def create_again(scene: FeedScene) -> None:
        for _ in range(trial.pick(100, 10)):
            session = founder.rng.choice(scene.sessions[: SESSIONS // 2])
            await founder.do("delete_session", session)
            await asyncio.sleep(founder.rng.choice((0.0, 0.0, 0.1)))
            await founder.create(session, "u")
            await founder.append(session)
            trial.faults["session created again"] += 1
            await asyncio.sleep(founder.rng.uniform(0, 0.2))

    quiet = scene.sessions[SESSIONS // 2 :]
    writer = trial.caller("w", scene.manager)
    await scene.run(create_again, (CUSTOMER, STAFF), [writer.write(quiet, trial.running)])
    told = [op.told for op in trial.recorder.history if op.kind == "told"]
    deleted = sum(each["event"] == "session_deleted" for each in told)
    resets = sum(each["event"] == "reset" for each in told)
    trial.note(f"watchers were told {deleted} times that a session is gone, and got {resets} resets")
    if any(each.get("reason") not in (None, "recreated") for each in told if each["event"] == "reset"):
        trial.break_rule("a session that was created again is a Reset for another reason")
    await scene.judge(Allowances(lossy=True))  # what was in a session that was deleted is gone
