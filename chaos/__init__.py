"""Fault tests: what the package promises, checked while servers are killed, frozen, flushed and filled.

Start with ``python -m chaos --help``. The words are those of Jepsen, and the parts are

    fault_tests      one module per kind of fault, and the table of all fault tests
    trial            one run of one fault test
    workload         what the callers do; editor: those who edit histories; desk_bot and desk_operator: those who hand
                     sessions to people and back
    nemesis          injects faults; testkit.fault_proxy does it to replies
    history          every operation: when it began, when it ended, what its caller was told
    snapshot         what is in the store at rest; observer takes it, snapshot_redis, snapshot_sqlite and desk_lists
                     read it
    checker          compares the history with the snapshot: invariants, realtime, edits, counters, and case, which they
                     share; for the desk desk_rules, desk_ends, desk_times, and desk_case, which reads the transcripts
                     (desk_transcript)
    log_watch        logs must not show the text of a message, and exceptions must be handled
    worker, workers  processes that can be killed in the middle of a call
    powercut         what a power cut may leave of the files of a store
    report           the table and the JSON file of the outcomes
    mutants          faults planted into the package, each of which a test must find
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
