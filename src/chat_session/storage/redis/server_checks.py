"""What a Redis server says of itself, read for what endangers sessions. No command here reads a key."""

import re
from collections.abc import Mapping
from contextlib import suppress

from chat_session.checks import brief
from chat_session.clock import now_ms
from chat_session.errors import StoreDenied, StoreError, StoreIncompatible
from chat_session.storage.contract import Finding
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import fields, moment, text
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.net.pipeline import PipelinedConnection

MAX_CLOCK_DIFFERENCE_MS = 2000
OLDEST = (6, 2)

_MANAGERS = (("amazon", "Amazon (ElastiCache or MemoryDB)"),)  # by what INFO says under "os"

Info = Mapping[str, str]


async def check_servers(executor: CommandExecutor) -> list[Finding]:
    """Each server that takes writes; on a cluster the subject says which."""
    servers = await executor.servers()
    findings: list[Finding] = []
    for server in servers:
        found = await _check_server(executor, server)
        at = f" at {server.address}" if len(servers) > 1 else ""
        findings += [finding._replace(subject=finding.subject + at) for finding in found]
    return findings


async def warn_of_settings(executor: CommandExecutor) -> None:
    """Tell the hooks what endangers sessions; a server that will not say is passed over in silence."""
    with suppress(StoreError):
        for finding in await check_servers(executor):
            if finding.level != "ok":
                executor.hooks.endangered(finding.subject, finding.text)


async def _check_server(executor: CommandExecutor, server: PipelinedConnection) -> list[Finding]:
    """Version, role, persistence, eviction, clock. What the user may not ask is reported as unknown."""
    try:
        reply = await executor.run("diagnose", PlainCommand((b"INFO",), text), on=server)
    except StoreDenied:
        problem = "This user may not use INFO, so the server's version and settings are unknown."
        return [Finding("warning", "server", problem)]
    info = parse_info(reply)
    seconds, microseconds = await executor.run("diagnose", PlainCommand((b"TIME",), moment), on=server)
    clock_ms = seconds * 1000 + microseconds // 1000
    return [
        check_version(info),
        _check_role(info),
        await _check_persistence(executor, server, info),
        check_eviction(info),
        _check_clock(now_ms() - clock_ms),
    ]


def parse_info(reply: bytes) -> Info:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, separator, value in lines if separator}


def check_version(info: Info) -> Finding:
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", version, re.ASCII)
    if numbers is None:
        text = f"INFO tells the version {brief(version)}, which cannot be read. Use Redis 6.2 or later, or Valkey."
        return Finding("warning", "version", text)
    if tuple(map(int, numbers.groups())) < OLDEST:
        return Finding("error", "version", f"{name} {version} is too old. Use version 6.2 or later.")
    return Finding("ok", "version", f"The server is {name} {version}.")


def _check_role(info: Info) -> Finding:
    role = info.get("role", "unknown")
    if role != "master":
        return Finding("error", "role", f"The server is a {role} and refuses writes. Connect to the primary.")
    return Finding("ok", "role", "The server is a primary.")


async def _check_persistence(executor: CommandExecutor, server: PipelinedConnection, info: Info) -> Finding:
    managed = find_manager(info)
    if managed is not None:
        return Finding(
            "ok", "persistence", f"The server is managed by {managed}. Its settings there decide what a crash loses."
        )
    if info.get("aof_enabled") == "1":
        fsync = await _read_config(executor, server, "appendfsync")
        if fsync == "no":
            text = (
                "appendfsync is 'no', so a power cut loses what the operating system has not yet written to the disk."
            )
            return Finding("warning", "persistence", text)
        return Finding("ok", "persistence", f"There is an append-only file, and appendfsync is {fsync or 'unknown'}.")
    save = await _read_config(executor, server, "save")
    if save is None:
        text = "CONFIG is refused, and INFO names no append-only file. Ask who runs the server what a crash loses."
        return Finding("warning", "persistence", text)
    if save:
        text = (
            f"There are only snapshots (save {save}), so a crash loses what came after the last. Set appendonly to yes."
        )
        return Finding("warning", "persistence", text)
    text = "There is no append-only file and no snapshot, so a restart loses every session. Set appendonly to yes."
    return Finding("warning", "persistence", text)


def find_manager(info: Info) -> str | None:
    """The service that runs this server, as far as INFO tells; its own settings decide what is lost in a crash."""
    return next((name for mark, name in _MANAGERS if mark in info.get("os", "").lower()), None)


def check_eviction(info: Info) -> Finding:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return Finding(
            "warning", "eviction", "The server does not tell its maxmemory-policy. Make sure that it is noeviction."
        )
    if policy != "noeviction":
        text = f"maxmemory-policy is {policy}, which removes single keys and so damages sessions. Set it to noeviction."
        return Finding("warning", "eviction", text)
    return Finding("ok", "eviction", "maxmemory-policy is noeviction.")


def _check_clock(difference_ms: int) -> Finding:
    if abs(difference_ms) > MAX_CLOCK_DIFFERENCE_MS:
        text = (
            f"The clock of this host is {difference_ms / 1000:+.1f} s off the server's, so their timestamps disagree."
        )
        return Finding("warning", "clock", text)
    return Finding("ok", "clock", f"The clock of this host is {difference_ms:+d} ms off the server's.")


async def _read_config(executor: CommandExecutor, server: PipelinedConnection, name: str) -> str | None:
    """None where CONFIG is forbidden, as managed servers do."""
    try:
        values = await executor.run("diagnose", PlainCommand((b"CONFIG", b"GET", name), fields), on=server)
    except (StoreDenied, StoreIncompatible):
        return None
    return values.get(name.encode(), b"").decode()
