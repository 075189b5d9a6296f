"""The table of proofs: R1 to R17, and R18 to R25 for what the table did not foresee."""

from chaos.proofs import (
    cancellations,
    claims,
    clocks,
    failovers,
    flushed_scripts,
    full_disk,
    killed_connections,
    killed_servers,
    killed_workers,
    lost_replies,
    memory_limit,
    moving_slots,
    power_cuts,
    soak,
    stalls,
    sweepers,
)
from chaos.trial import Proof

ONE, MANY, EVERY, FILE = ("standalone",), ("standalone", "cluster"), ("standalone", "cluster", "sqlite"), ("sqlite",)
SENTINEL, CLUSTER = ("sentinel",), ("cluster",)

_TABLE = (
    Proof("R1", "reply swallowed", lost_replies.swallow, MANY, limit=400, in_short=True),
    Proof("R2", "reset after execution", lost_replies.reset, MANY, limit=300, in_short=True),
    Proof("R3", "kill -9, appendfsync always", killed_servers.synced_always, ONE, limit=300, in_short=True),
    Proof("R4", "kill -9, appendfsync everysec", killed_servers.synced_every_second, ONE, limit=300),
    Proof("R5", "primary killed, Sentinel, WAIT 1", failovers.sentinel, SENTINEL, limit=600, short_limit=90),
    Proof("R6", "primary killed, Cluster, WAIT 1", failovers.cluster, CLUSTER, limit=500, short_limit=90),
    Proof("R7", "slots migrated", moving_slots.run, CLUSTER, limit=500, short_limit=90),
    Proof("R8", "SCRIPT FLUSH every 5 ms", flushed_scripts.run, MANY, limit=150, in_short=True),
    Proof("R9", "memory limit reached", memory_limit.run, ONE, limit=200, in_short=True),
    Proof("R10", "CLIENT KILL every 100 ms", killed_connections.run, MANY, limit=180),
    Proof("R11", "cancelled at 0 to 3 ms", cancellations.run, EVERY, limit=200, in_short=True),
    Proof("R12", "stalled for 200 ms", stalls.run, ONE, limit=200, in_short=True),
    Proof("R13", "sweepers and deaths at the edge", sweepers.run, EVERY, limit=400, in_short=True),
    Proof("R14", "worker killed -9 in mid-call", killed_workers.in_mid_call, MANY, limit=200, in_short=True),
    Proof("R15", "clocks 2 h wrong, server frozen 3 s", clocks.run, ONE, limit=200),
    Proof("R16", "one hundred claims at once", claims.run, EVERY, limit=300, in_short=True),
    Proof("R17", "soak", soak.run, ONE, limit=2400, short_limit=120),
    Proof("R18", "primary frozen, Sentinel, WAIT 1", failovers.freeze, SENTINEL, limit=300, short_limit=90),
    Proof("R19", "one of four workers killed -9", killed_workers.one_of_four, EVERY, limit=300),
    Proof("R20", "writer of a file killed -9", killed_workers.in_mid_call, FILE, limit=200, in_short=True),
    Proof("R21", "disk full under a file", full_disk.run, FILE, limit=200, in_short=True),
    Proof("R22", "three processes on one file", killed_workers.side_by_side, FILE, limit=300, in_short=True),
    Proof("R23", "primary frozen, Sentinel, WAIT 2", failovers.freeze_for_all, SENTINEL, limit=300, short_limit=90),
    Proof("R24", "power cut under a file", power_cuts.under_a_file, FILE, limit=600, short_limit=60, in_short=True),
    Proof(
        "R25",
        "power cut, appendfsync always",
        power_cuts.under_an_append_only_file,
        ONE,
        limit=600,
        short_limit=60,
        in_short=True,
    ),
)
PROOFS = {proof.id: proof for proof in _TABLE}
