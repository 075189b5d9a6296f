"""The table of all fault tests. Each is a coroutine that takes a Trial."""

from chaos.fault_tests import (
    cancellations,
    claims,
    clocks,
    desks,
    edits,
    failovers,
    feeds,
    flushed_scripts,
    full_disk,
    killed_connections,
    killed_servers,
    killed_workers,
    lost_replies,
    lost_writes,
    memory_limit,
    moving_slots,
    power_cuts,
    soak,
    stalls,
    streams,
    sweepers,
    turns,
)
from chaos.trial import FaultTest

ONE, MANY, EVERY, FILE = ("standalone",), ("standalone", "cluster"), ("standalone", "cluster", "sqlite"), ("sqlite",)
SENTINEL, CLUSTER = ("sentinel",), ("cluster",)

_TABLE = (
    FaultTest("R1", "reply swallowed", lost_replies.swallow, MANY, limit=400, in_short=True),
    FaultTest("R2", "reset after execution", lost_replies.reset, MANY, limit=300, in_short=True),
    FaultTest("R3", "kill -9, appendfsync always", killed_servers.synced_always, ONE, limit=300, in_short=True),
    FaultTest("R4", "kill -9, appendfsync everysec", killed_servers.synced_every_second, ONE, limit=300),
    FaultTest("R5", "primary killed, Sentinel, WAIT 1", failovers.sentinel, SENTINEL, limit=600, short_limit=90),
    FaultTest("R6", "primary killed, Cluster, WAIT 1", failovers.cluster, CLUSTER, limit=500, short_limit=90),
    FaultTest("R7", "slots migrated", moving_slots.run, CLUSTER, limit=500, short_limit=90),
    FaultTest("R8", "SCRIPT FLUSH every 5 ms", flushed_scripts.run, MANY, limit=150, in_short=True),
    FaultTest("R9", "memory limit reached", memory_limit.run, ONE, limit=200, in_short=True),
    FaultTest("R10", "CLIENT KILL every 100 ms", killed_connections.run, MANY, limit=180),
    FaultTest("R11", "cancelled at 0 to 3 ms", cancellations.run, EVERY, limit=200, in_short=True),
    FaultTest("R12", "stalled for 200 ms", stalls.run, ONE, limit=200, in_short=True),
    FaultTest("R13", "sweepers and deaths at the edge", sweepers.run, EVERY, limit=400, in_short=True),
    FaultTest("R14", "worker killed -9 in mid-call", killed_workers.in_mid_call, MANY, limit=200, in_short=True),
    FaultTest("R15", "clocks 2 h wrong, server frozen 3 s", clocks.run, ONE, limit=200),
    FaultTest("R16", "one hundred claims at once", claims.run, EVERY, limit=300, in_short=True),
    FaultTest("R17", "soak", soak.run, ONE, limit=2400, short_limit=120),
    FaultTest("R18", "primary frozen, Sentinel, WAIT 1", failovers.freeze, SENTINEL, limit=300, short_limit=90),
    FaultTest("R19", "one of four workers killed -9", killed_workers.one_of_four, EVERY, limit=300),
    FaultTest("R20", "writer of a file killed -9", killed_workers.in_mid_call, FILE, limit=200, in_short=True),
    FaultTest("R21", "disk full under a file", full_disk.run, FILE, limit=200, in_short=True),
    FaultTest("R22", "three processes on one file", killed_workers.side_by_side, FILE, limit=300, in_short=True),
    FaultTest("R23", "primary frozen, Sentinel, WAIT 2", failovers.freeze_for_all, SENTINEL, limit=300, short_limit=90),
    FaultTest("R24", "power cut under a file", power_cuts.under_a_file, FILE, limit=600, short_limit=60, in_short=True),
    FaultTest(
        "R25",
        "power cut, appendfsync always",
        power_cuts.under_an_append_only_file,
        ONE,
        limit=600,
        short_limit=60,
        in_short=True,
    ),
    FaultTest("R26", "edits, reset after execution", edits.reset, MANY, limit=300, in_short=True),
    FaultTest("R27", "sixty-four pops, reply lost", edits.pops, MANY, limit=300, in_short=True),
    FaultTest("R28", "editing worker killed -9", edits.killed_workers, EVERY, limit=300, in_short=True),
    FaultTest("R29", "desk, worker killed -9", desks.killed_workers, MANY, limit=300, short_limit=60, in_short=True),
    FaultTest("R30", "desk, reply lost", desks.lost_replies, MANY, limit=300, short_limit=60),
    FaultTest(
        "R31", "queue's primary killed, WAIT 1", desks.queue_failover, CLUSTER, limit=500, short_limit=90, in_short=True
    ),
    FaultTest(
        "R32",
        "session's primary killed, WAIT 1",
        desks.session_failover,
        CLUSTER,
        limit=500,
        short_limit=90,
        in_short=True,
    ),
    FaultTest(
        "R33",
        "operator frozen beyond its lease",
        desks.frozen_operators,
        EVERY,
        limit=300,
        short_limit=60,
        in_short=True,
    ),
    FaultTest("R34", "desk, primary killed, Sentinel", desks.sentinel_failover, SENTINEL, limit=600, short_limit=90),
    FaultTest(
        "R35", "desk in a file, worker killed -9", desks.killed_workers, FILE, limit=300, short_limit=60, in_short=True
    ),
    FaultTest("R36", "four workers take turns", turns.four_workers, EVERY, limit=500, short_limit=120, in_short=True),
    FaultTest("R37", "turns, worker killed -9", turns.killed_workers, MANY, limit=500, short_limit=90, in_short=True),
    FaultTest(
        "R38", "worker frozen beyond its lease", turns.frozen_workers, EVERY, limit=500, short_limit=90, in_short=True
    ),
    FaultTest("R39", "turns, primary killed, Sentinel", turns.sentinel_failover, SENTINEL, limit=600, short_limit=120),
    FaultTest(
        "R40", "turns in a file, worker killed -9", turns.killed_workers, FILE, limit=500, short_limit=90, in_short=True
    ),
    FaultTest("R41", "turns, primary killed, Cluster", turns.cluster_failover, CLUSTER, limit=600, short_limit=120),
    FaultTest("R42", "subscriptions cut every 100 ms", feeds.cut, MANY, limit=300, short_limit=90, in_short=True),
    FaultTest("R43", "writers may not notify", feeds.silent_writers, ONE, limit=300, short_limit=90, in_short=True),
    FaultTest("R44", "watchers may not subscribe", feeds.deaf_watchers, ONE, limit=300, short_limit=90, in_short=True),
    FaultTest(
        "R45",
        "feed, primary killed, Sentinel",
        feeds.sentinel_failover,
        SENTINEL,
        limit=600,
        short_limit=120,
        in_short=True,
    ),
    FaultTest("R46", "feed, primary killed, Cluster", feeds.cluster_failover, CLUSTER, limit=600, short_limit=120),
    FaultTest("R47", "watchers sleep", feeds.frozen_watchers, EVERY, limit=400, short_limit=90, in_short=True),
    FaultTest("R48", "watched session created again", feeds.recreated, EVERY, limit=300, short_limit=90, in_short=True),
    FaultTest("R49", "writes lost under watchers", lost_writes.run, ONE, limit=300, short_limit=90, in_short=True),
    FaultTest(
        "R50", "four producers stream replies", streams.four_producers, EVERY, limit=400, short_limit=120, in_short=True
    ),
    FaultTest(
        "R51", "producer killed in mid-reply", streams.ended_producers, EVERY, limit=400, short_limit=90, in_short=True
    ),
    FaultTest(
        "R52",
        "feed, writes lost, Sentinel",
        lost_writes.failover,
        SENTINEL,
        limit=600,
        short_limit=120,
        in_short=True,
    ),
)
FAULT_TESTS = {fault_test.id: fault_test for fault_test in _TABLE}
