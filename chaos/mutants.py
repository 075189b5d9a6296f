"""``python -m chaos.mutants``: does a test find every fault that is planted into the package?

Each mutant of the table is applied to a copy of the package, and its test is run on that copy. Before that, every
test is run on an unchanged copy, where it must pass. The exit code is 1 if a mutant survives, if a test fails on
the unchanged copy, or if the text that a mutant replaces is no longer in the source.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from chaos import ROOT
from chaos.mutant import Mutant
from chaos.mutant_table import TABLE
from chaos.report import FILE

SOURCE = ROOT / "src" / "chat_session"
PAGE = ROOT / "docs" / "mutants.md"
TRIES = 3  # of a fault test, whose faults and calls are random
LONGEST = 240.0  # seconds of one try
FAILED = 1  # the exit code of pytest and of a fault test that found something

HEAD = """\
# Mutants

Does a test fail when the package is wrong? `make chaos-mutants` plants one fault at a time into a copy of the package
and runs the test that must find it. It fails when a mutant survives, and when the text that a mutant replaces is no
longer in the source. This page is written by that run. The mutants themselves are in
[chaos/mutant_table.py](../chaos/mutant_table.py), the fault tests on their [own page](fault-tests.md),
which also says what I1 to I35 are; R1 and the like stand for a rule of that fault test alone.

| the planted fault | in | found by | it said |
|---|---|---|---|
"""


class Result(NamedTuple):
    """Whether the test failed, and what it said: the promises that were broken, or the test that failed."""

    found: bool
    said: str


def main(arguments: Sequence[str] | None = None, table: Sequence[Mutant] = TABLE) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name or test has one of these in it")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    given = parser.parse_args(arguments)
    chosen = [m for m in table if not given.words or any(word in f"{m.name} {m.test}" for word in given.words)]
    stale = find_stale(chosen)
    for mutant in stale:
        print(f"{mutant.name}: the text is not in {mutant.file}, or not once: {mutant.old!r}")
    if stale or not chosen:
        return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        tests = list(dict.fromkeys(mutant.test for mutant in chosen))
        broken = 0
        for test, result in zip(tests, pool.map(try_unchanged, tests), strict=True):
            broken += result.found or not result.said
            print(f"{'FAILS' if result.found else 'passes'} without a mutant: {test} ({result.said or 'did not run'})")
        if broken:
            return 1
        lines = []
        for mutant, result in zip(chosen, pool.map(try_mutant, chosen), strict=True):
            broken += not result.found
            lines.append(f"| {mutant.name} | `{mutant.file}` | {mutant.test} | {result.said} |")
            print(
                f"{'found' if result.found else 'SURVIVED'}: {mutant.name} - {mutant.test} ({result.said})", flush=True
            )
    print(f"{len(chosen) - broken} of {len(chosen)} mutants were found")
    if len(chosen) == len(TABLE) and not broken:
        PAGE.write_text(HEAD + "\n".join(lines) + "\n", "utf-8")
    return int(broken > 0)


def find_stale(table: Sequence[Mutant]) -> list[Mutant]:
    """Mutants whose text is not in the source exactly once."""
    return [mutant for mutant in table if (SOURCE / mutant.file).read_text("utf-8").count(mutant.old) != 1]


def try_unchanged(test: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        return run_test(test, copy_package(Path(folder)))


def try_mutant(mutant: Mutant) -> Result:
    """Run the test of a mutant on a copy with that mutant. A fault test is tried up to three times."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        packages = copy_package(Path(folder))
        file = packages / "chat_session" / mutant.file
        file.write_text(file.read_text("utf-8").replace(mutant.old, mutant.new), "utf-8")
        result = run_test(mutant.test, packages)
        for _ in range(1, TRIES if ".py" not in mutant.test else 1):
            result = result if result.found else run_test(mutant.test, packages)
    return result


def copy_package(folder: Path) -> Path:
    """Copy the package into a folder. With that folder on PYTHONPATH it is found before the installed package."""
    shutil.copytree(SOURCE, folder / "chat_session", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_test(test: str, packages: Path) -> Result:
    """One run on the package in that folder."""
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(packages)}
    if ".py" in test:
        store, file, words = re.fullmatch(r"(\w+): (\w+\.py): (.+)", test).groups()  # type: ignore[union-attr]
        environment["CHAT_SESSION_TEST_STORE"] = store
        command = ["pytest", "-q", "-x", "-rf", "-p", "no:cacheprovider", f"tests/{file}", "-k", words]
        code, output = _run(command, environment)
        failed = re.findall(r"^FAILED \S+::(\w+)", output, re.MULTILINE)
        passed = re.findall(r"^(\d+ passed)", output, re.MULTILINE)
        return Result(code == FAILED and bool(failed), ", ".join(failed or passed))
    fault_test, store = test.split()
    out = packages / "out"
    code, output = _run(["chaos", fault_test, "--short", "--store", store, "--output", str(out)], environment)
    try:
        [outcome] = json.loads((out / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return Result(found=False, said="" if code is not None else "did not end")
    if outcome["skipped"]:
        return Result(found=False, said="")
    told = {violation.split()[0].rstrip(":") for violation in outcome["violations"]}
    said = ", ".join(sorted(told, key=lambda name: (name[0], int(name[1:])))) or "all promises were kept"
    return Result(code == FAILED and bool(told), said)


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[int | None, str]:
    """The exit code, None for one that did not end in time: then all that it started is ended with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


if __name__ == "__main__":
    sys.exit(main())
