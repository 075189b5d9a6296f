"""The fault tests in their short forms, their machinery, and the mutants."""

import asyncio
import logging
import os
import random
import re
import socket
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from chaos import mutants
from chaos.fault_tests import FAULT_TESTS
from chaos.history import MARK, Recorder, read_history
from chaos.log_watch import watch_logs
from chaos.mutant import Mutant
from chaos.mutant_table import TABLE
from chaos.mutants import find_stale
from chaos.observer import read_stored
from chaos.trial import FaultTest, Trial, run_fault_test
from chaos.workers import Workers
from chat_session import SessionManager
from chat_session.storage.redis.keys import Keys
from testkit.backends import chosen_backends, start_backend_in_thread
from testkit.programs import need_server

SHORT = [fault_test for fault_test in FAULT_TESTS.values() if fault_test.in_short and fault_test.stores[0] != "sqlite"]
FILE = [fault_test for fault_test in FAULT_TESTS.values() if fault_test.in_short and fault_test.stores[0] == "sqlite"]


@pytest.mark.skipif("redis" not in chosen_backends(), reason="these fault tests run on Redis")
@pytest.mark.parametrize("fault_test", SHORT, ids=lambda fault_test: f"{fault_test.id}, {fault_test.title}")
async def test_no_promise_is_broken_under(fault_test: FaultTest, tmp_path: Path) -> None:
    need_server()
    await run_short(fault_test, tmp_path)


@pytest.mark.skipif("sqlite" not in chosen_backends(), reason="these fault tests run on files")
@pytest.mark.parametrize("fault_test", FILE, ids=lambda fault_test: f"{fault_test.id}, {fault_test.title}")
async def test_no_promise_is_broken_in_a_file_under(fault_test: FaultTest, tmp_path: Path) -> None:
    await run_short(fault_test, tmp_path)


async def run_short(fault_test: FaultTest, output: Path) -> None:
    """Run the short form; CHAOS_SEED repeats a run that failed."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}")
    outcome = await run_fault_test(fault_test, fault_test.stores[0], seed, output, short=True)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.violations == [], f"seed {seed}; the history is in {outcome.history}"
    assert outcome.acknowledged > 0
    assert sum(outcome.faults.values()) > 0


async def test_the_snapshot_of_a_server_tells_entries_in_wrong_buckets_from_others(server_folder: Path) -> None:
    async with start_backend_in_thread("standalone", server_folder / "snapshot") as backend:
        async with backend.open() as manager:
            await manager.create_session("u", session_id="s")
        keys = Keys()
        wrong = next(bucket for bucket in keys.due_buckets() if bucket != keys.due("s"))
        backend.on_primaries("ZADD", wrong.decode(), 1, "s/u")
        backend.on_primaries("ZADD", keys.due("s").decode(), 1, "s:u")
        snapshot = read_stored(backend)
    assert (list(snapshot.due), list(snapshot.by_user), len(snapshot.strays)) == ([("s", "u")], [("s", "u")], 2)


async def test_a_connection_that_is_left_open_is_a_violation(tmp_path: Path) -> None:
    left: list[socket.socket | BinaryIO] = []

    async def leak(trial: Trial) -> None:
        await trial.caller("w", trial.open_manager(await trial.open_backend())).create("s", "u")
        left.extend((socket.socket(), (trial.folder / "chat.db").open("rb")))

    outcome = await run_fault_test(FaultTest("R0", "a leak", leak, ("sqlite",)), "sqlite", 5, tmp_path, short=True)
    for each in left:
        each.close()
    assert len(outcome.violations) == 1
    assert outcome.violations[0].startswith("R0 : 2 sockets or files were left open")


def test_every_mutant_changes_a_text_that_is_in_the_source_once() -> None:
    assert find_stale(TABLE) == []
    assert len(TABLE) >= 30
    assert len({mutant.name for mutant in TABLE}) == len(TABLE)


def test_every_mutant_names_tests_that_exist() -> None:
    root = Path(__file__).parent
    contract = [*(root.parent / "src" / "chat_session" / "testing").rglob("*.py")]
    for mutant in TABLE:
        if ".py" not in mutant.test:
            name, store = mutant.test.split()
            assert store in FAULT_TESTS[name].stores
            continue
        _, file, words = mutant.test.split(": ")
        sources = [root / file, *(contract if file == "test_contract.py" else ())]
        assert any(re.search(rf"def test_\w*{words}", source.read_text("utf-8")) for source in sources), mutant.test


HOOKS = "telemetry/hooks.py", "            except Exception:", "sqlite: test_telemetry.py: a_failing_hook"


@pytest.mark.skipif("sqlite" not in chosen_backends(), reason="the mutants are tried on a file")
@pytest.mark.parametrize(
    ("new", "code"), [("            except ZeroDivisionError:", 0), ("            except (Exception,):", 1)]
)
def test_a_mutant_that_survives_is_told(new: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    file, old, test = HOOKS
    assert mutants.main([], [Mutant("a failing hook", file, old, new, test)]) == code
    assert ("SURVIVED" in capsys.readouterr().out) == bool(code)


def test_a_mutant_whose_text_is_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main([], [Mutant("of old", "checks.py", "no such text", "", "R8 standalone")]) == 1
    assert "no such text" in capsys.readouterr().out


def test_what_is_logged_is_heard() -> None:
    recorder = Recorder()
    with watch_logs(recorder):
        logging.getLogger("chat_session").debug("stored %s", MARK)
        logging.getLogger("asyncio").error("Task exception was never retrieved")
    assert (len(recorder.leaks), len(recorder.unhandled)) == (1, 1)


async def test_a_worker_that_has_ended_by_itself_cannot_be_killed(tmp_path: Path) -> None:
    recorder = Recorder()
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s")
    async with Workers(recorder) as workers:
        plan: dict[str, Any] = {"sessions": ["s"], "turns": 1, "settings": {}}
        await workers.start("one", f"sqlite:///{tmp_path}/chat.db", "write", 1, **plan)
        assert await workers.wait("one") == 0
        with pytest.raises(RuntimeError, match="ended by itself"):
            await workers.kill("one")
    assert [op.outcome for op in recorder.history] == ["ok"]


async def test_a_fault_test_that_fails_keeps_its_history_and_its_seed(tmp_path: Path) -> None:
    async def lose(trial: Trial) -> None:
        backend = await trial.open_backend()
        caller = trial.caller("w", trial.open_manager(backend))
        await caller.create("s", "u")
        op = await caller.append("s")
        op.id = "another"  # as if the store had kept a different message
        await trial.judge(backend)

    outcome = await run_fault_test(
        FaultTest("R0", "a broken promise", lose, ("sqlite",)), "sqlite", 5, tmp_path, short=True
    )
    assert {violation.split()[0] for violation in outcome.violations} == {"I1", "I2"}
    header, calls = read_history(Path(outcome.history))
    assert (header["seed"], header["store"]) == (5, "sqlite")
    assert [op.kind for op in calls][:2] == ["create", "append"]


async def test_a_fault_test_that_hangs_or_breaks_is_a_violation(tmp_path: Path) -> None:
    async def hang(trial: Trial) -> None:
        await trial.caller("w", trial.open_manager(await trial.open_backend())).create("s", "u")
        await asyncio.Event().wait()

    async def fall(trial: Trial) -> None:
        raise ZeroDivisionError

    for run, word in ((hang, "not done within"), (fall, "ZeroDivisionError")):
        fault_test = FaultTest("R0", "a broken fault test", run, ("sqlite",), short_limit=0.3)
        outcome = await run_fault_test(fault_test, "sqlite", 5, tmp_path, short=True)
        assert word in outcome.violations[0]
