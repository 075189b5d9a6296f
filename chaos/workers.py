"""Worker processes, to be killed in the middle of a call. Their operations go into the recorder."""

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from chaos import ROOT
from chaos.history import Operation, Recorder


class Workers:
    """``async with Workers(recorder)``: start workers by name, kill them, wait for their end."""

    def __init__(self, recorder: Recorder, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: variables for the workers, beside those of this process."""
        self._environment = {**os.environ, **(environment or {})}
        self.codes: dict[str, int] = {}
        self._recorder = recorder
        self._pids: dict[str, int] = {}
        self._operations: dict[tuple[str, float], Operation] = {}
        self._answered: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._dead: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __aenter__(self) -> Self:
        pipes: dict[str, Any] = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chaos.worker", cwd=ROOT, env=self._environment, limit=1 << 20, **pipes
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def start(
        self,
        name: str,
        url: str,
        load: str,
        seed: object,
        *,
        callers: int = 1,
        sessions: Sequence[str] = (),
        turns: int = 0,
        clock: float = 0,
        synchronous: str = "",
        cursors: Mapping[str, str] | None = None,
        settings: dict[str, Any],
    ) -> None:
        """Start a worker and wait until one of its calls was answered.

        ``turns``: how many times it repeats its workload; 0 means until it is killed. ``clock``: by how many
        seconds its clock is wrong. ``synchronous``: the mode in which it opens SQLite files, instead of FULL.
        ``cursors``: of sessions, behind which a watcher begins.
        """
        plan = {"name": name, "url": url, "load": load, "seed": str(seed), "callers": callers}
        plan |= {
            "sessions": list(sessions),
            "turns": turns,
            "clock": clock,
            "synchronous": synchronous,
            "cursors": dict(cursors or {}),
            "settings": settings,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(plan).encode() + b"\n")
        await self._process.stdin.drain()
        await self._answered[name].wait()

    async def kill(self, name: str) -> None:
        """``kill -9``. When this returns, everything that the worker wrote is in the recorder.

        Raises RuntimeError if the worker had ended by itself before.
        """
        if name in self._pids and not self._dead[name].is_set():
            os.kill(self._pids[name], signal.SIGKILL)
        await self._dead[name].wait()
        if self.codes.get(name) != -signal.SIGKILL:
            raise RuntimeError(f"worker {name} had ended by itself with {self.codes.get(name)}")

    def freeze(self, name: str) -> None:
        """The worker does nothing until ``thaw``."""
        os.kill(self._pids[name], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self._pids[name], signal.SIGCONT)

    async def wait(self, name: str) -> int:
        """Wait until a worker ends by itself. Returns its exit code."""
        await self._dead[name].wait()
        return self.codes[name]

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            facts = json.loads(line)
            name = facts["worker"]
            if "pid" in facts:
                self._pids[name] = facts["pid"]
            elif "leak" in facts:
                self._recorder.leaks.append(facts["leak"])
            elif "unhandled" in facts:
                self._recorder.unhandled.append(facts["unhandled"])
            elif "dead" in facts:
                self.codes[name] = facts["dead"]
                self._answered[name].set()
                self._dead[name].set()
            else:
                key = facts["operation"]["writer"], facts["operation"]["begun"]
                self._operations[key] = self._recorder.adopt(facts["operation"], self._operations.get(key))
                if facts["operation"]["ended"] is not None:
                    self._answered[name].set()
        for event in (*self._answered.values(), *self._dead.values()):
            event.set()  # the process is gone; without this, somebody would wait for ever
