"""Faults planted on purpose: each is one small change of the package, and names the test that must find it.

A test is a fault test and its store ("R8 standalone"), or a file of tests with an expression that chooses some
("test_contract.py: sqlite and trims", on the store that the name begins with where it has a prefix).
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """``old`` stands once in ``file``, and is replaced by ``new``."""

    name: str
    file: str
    old: str
    new: str
    test: str


_LUA, _REDIS, _SQLITE = "storage/redis/lua", "storage/redis", "storage/sqlite"

_LEAK = """\
            self.__dict__.setdefault("leaked", []).append((connection._reader, connection._writer))
            connection._reader = connection._writer = None
"""

TABLE = (
    # What the checker was once blind to.
    Mutant(
        "every other switch begins two epochs, Redis",
        f"{_LUA}/switch_agent.lua",
        "\nepoch = epoch + 1\n",
        "\nepoch = epoch + 1 + epoch % 2\n",
        "R8 standalone",
    ),
    Mutant(
        "every other switch begins two epochs, SQLite",
        f"{_SQLITE}/sessions.py",
        "agent_epoch=session.agent_epoch + 1,",
        "agent_epoch=session.agent_epoch + 1 + session.agent_epoch % 2,",
        "R22 sqlite",
    ),
    Mutant(
        "the epoch moves without a switch",
        f"{_LUA}/extend_session.lua",
        "'lastActiveAt', now)",
        "'lastActiveAt', now, 'agentEpoch', string.format('%d', epoch + 1))",
        "R8 standalone",
    ),
    Mutant(
        "a connection leaks at each fault",
        f"{_REDIS}/batching.py",
        "            await abort(connection)\n",
        _LEAK,
        "R1 standalone",
    ),
    Mutant(
        "synchronous=NORMAL",
        f"{_SQLITE}/file.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=NORMAL",
        "R24 sqlite",
    ),
    Mutant("synchronous=OFF", f"{_SQLITE}/file.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF", "R24 sqlite"),
    Mutant(
        "of two messages a reader is given one, Redis",
        f"{_REDIS}/sessions.py",
        'return [b"OK", last - len(elements) + 1, elements]',
        'return [b"OK", last - len(elements) + 1, elements[:1] if last == 2 else elements]',
        "R8 standalone",
    ),
    Mutant(
        "a reader is given all messages but the newest, SQLite",
        f"{_SQLITE}/messages.py",
        "2**63 - 1 if before is None else before, limit)",
        "require_session(db, session_id).message_count if before is None else before, limit)",
        "R22 sqlite",
    ),
    Mutant(
        "another ttl is not stored",
        f"{_LUA}/set_ttl.lua",
        "call('HSET', KEYS[1], 'ttl', ARGV[2])\n",
        "",
        "R8 standalone",
    ),
    Mutant(
        "another ttl is not stored, SQLite",
        f"{_SQLITE}/queries.sql",
        "UPDATE sessions SET ttl = ?, deadline",
        "UPDATE sessions SET ttl = coalesce(ttl, ?), deadline",
        "R22 sqlite",
    ),
    Mutant(
        "deadlines are a minute late",
        f"{_LUA}/include/slide.lua",
        "read_clock() + ttl * 1000)",
        "read_clock() + ttl * 1000 + 60000)",
        "R8 standalone",
    ),
    Mutant(
        "deadlines are five seconds early, SQLite",
        f"{_SQLITE}/lifetimes.py",
        "now_ms() + ttl * 1000\n",
        "now_ms() + ttl * 1000 - 5000\n",
        "R22 sqlite",
    ),
    Mutant(
        "a count takes those that are known to be dead for living",
        f"{_LUA}/read_entries.lua",
        "'(' .. now, '+inf')",
        "0, '+inf')",
        "R13 standalone",
    ),
    Mutant(
        "a count takes those that died a second ago for living, SQLite",
        f"{_SQLITE}/queries.sql",
        "SELECT count(*) FROM sessions WHERE deadline > ?;",
        "SELECT count(*) FROM sessions WHERE deadline > ? - 1000;",
        "R13 sqlite",
    ),
    Mutant(
        "metadata is not removed",
        f"{_LUA}/update_session.lua",
        "for i = 5, 4 + removed do redis.call('HDEL', KEYS[1], ARGV[i]) end",
        "",
        "R8 standalone",
    ),
    Mutant(
        "metadata is not replaced, SQLite",
        f"{_SQLITE}/sessions.py",
        "{**session.metadata, **patch}.items()",
        "{**patch, **session.metadata}.items()",
        "R22 sqlite",
    ),
    # Messages: once, in order, the last of them, in their epoch.
    Mutant(
        "a repeated message is not known",
        f"{_LUA}/include/check.lua",
        "  local known = call('HGET', KEYS[4], ARGV[at])\n",
        "  local known = false\n",
        "R2 standalone",
    ),
    Mutant(
        "a repeated switch is not known",
        f"{_LUA}/switch_agent.lua",
        "if repeated then\n",
        "if false then\n",
        "R2 standalone",
    ),
    Mutant(
        "a repeated creation is not known",
        f"{_LUA}/create_session.lua",
        "if owner and created == token then",
        "if false then",
        "R2 standalone",
    ),
    Mutant(
        "one message too many is trimmed",
        f"{_LUA}/include/push.lua",
        "call('LPOP', KEYS[3], length - max_history)",
        "call('LPOP', KEYS[3], length - max_history + 1)",
        "R8 standalone",
    ),
    Mutant(
        "the ids of trimmed messages are kept",
        f"{_LUA}/include/push.lua",
        "    if stop then call",
        "    if false then call",
        "R8 standalone",
    ),
    Mutant(
        "one message too many is kept, SQLite",
        f"{_SQLITE}/messages.py",
        "(session_id, count - max_history))",
        "(session_id, count - max_history - 1))",
        "sqlite: test_contract.py: the_history_keeps_the_last_n",
    ),
    Mutant(
        "a batch is stored in reverse",
        f"{_LUA}/include/push.lua",
        "    local at = first + (i - 1) * 3\n    count, beyond",
        "    local at = first + (n - i) * 3\n    count, beyond",
        "redis: test_contract.py: a_batch_is_stored_in_order",
    ),
    Mutant(
        "a reply of an epoch that is over lands",
        f"{_LUA}/append_messages.lua",
        "if expect ~= '' and tonumber(expect) ~= epoch then",
        "if false then",
        "R16 standalone",
    ),
    Mutant(
        "a reply of an epoch that is over lands, SQLite",
        f"{_SQLITE}/messages.py",
        "if fresh and epoch is not None and epoch != session.agent_epoch:",
        "if fresh and epoch is not None and epoch > session.agent_epoch:",
        "R16 sqlite",
    ),
    Mutant(
        "two claims of one epoch succeed",
        f"{_LUA}/switch_agent.lua",
        "expect ~= current and tonumber(expect) ~= epoch then",
        "expect ~= current and tonumber(expect) > epoch then",
        "R16 standalone",
    ),
    Mutant(
        "what was refused is not undone, SQLite",
        f"{_SQLITE}/worker.py",
        '            cursor.execute("ROLLBACK TO job")\n',
        "",
        "R16 sqlite",
    ),
    Mutant(
        "an acknowledgement comes before the commit, SQLite",
        f"{_SQLITE}/worker.py",
        'self._execute_when_free(cursor, "COMMIT", deadline)',
        "_answer(batch, outcomes)\n                time.sleep(0.02)\n"
        '                self._execute_when_free(cursor, "COMMIT", deadline)',
        "R20 sqlite",
    ),
    # Whole or absent, one deadline, exact indexes.
    Mutant(
        "an append moves the deadline of half the keys",
        f"{_LUA}/append_messages.lua",
        "expire(find_deadline(ttl), KEYS[1], KEYS[2], KEYS[3], KEYS[4])",
        "expire(find_deadline(ttl), KEYS[1], KEYS[2])",
        "R8 standalone",
    ),
    Mutant(
        "a new session has no deadline",
        f"{_LUA}/create_session.lua",
        "expire(deadline, KEYS[1])\n",
        "",
        "R14 standalone",
    ),
    Mutant(
        "a switch does not write the agent's own key",
        f"{_LUA}/switch_agent.lua",
        "set(KEYS[2], agent, deadline, 'GET')",
        "call('GET', KEYS[2])",
        "R8 standalone",
    ),
    Mutant(
        "a creation makes no due entry",
        f"{_LUA}/create_session.lua",
        "  call('ZADD', KEYS[5], deadline, member)\n",
        "",
        "R8 standalone",
    ),
    Mutant(
        "a deletion leaves the entry in the user's list",
        f"{_LUA}/delete_session.lua",
        "  redis.call('ZREM', KEYS[6], session_id)\n",
        "",
        "R8 standalone",
    ),
    Mutant(
        "a deletion leaves the messages, SQLite",
        f"{_SQLITE}/sessions.py",
        'messages = db.execute(SQL["delete_messages"], (session_id,)).rowcount',
        "messages = 0",
        "R22 sqlite",
    ),
    Mutant(
        "a death is counted by everybody who sweeps",
        f"{_LUA}/reconcile_entry.lua",
        "if dead == 'reap' or reaped == 0 then return {'DEAD', reaped} end",
        "if dead == 'reap' or reaped == 0 then return {'DEAD', 1} end",
        "R13 standalone",
    ),
    Mutant(
        "a sweep leaves the messages of the dead, SQLite",
        f"{_SQLITE}/lifetimes.py",
        '    db.executemany(SQL["delete_messages"], dead)\n',
        "",
        "R13 sqlite",
    ),
    Mutant(
        "a sweep takes sessions that have half a second left, SQLite",
        f"{_SQLITE}/lifetimes.py",
        'db.execute(SQL["delete_dead_sessions"], (now_ms(), BATCH))',
        'db.execute(SQL["delete_dead_sessions"], (now_ms() + 500, BATCH))',
        "R13 sqlite",
    ),
    Mutant(
        "the list of a user shows another's sessions, SQLite",
        f"{_SQLITE}/queries.sql",
        "WHERE user_id = :user_id AND",
        "WHERE user_id >= :user_id AND",
        "R22 sqlite",
    ),
    Mutant(
        "an entry stands in another bucket than its session's",
        f"{_REDIS}/keys.py",
        "crc32(session_id.encode()) % BUCKETS",
        "(crc32(session_id.encode()) + 1) % BUCKETS",
        "redis: test_stored_bytes.py: keys_of_both_layouts",
    ),
    # Faults on the way.
    Mutant(
        "a lost answer is told as a failure",
        f"{_REDIS}/connection.py",
        "outcome_unknown=unknown)",
        "outcome_unknown=False)",
        "R12 standalone",
    ),
    Mutant(
        "a call that gave up before it left is sent afterwards",
        f"{_REDIS}/batching.py",
        "for waiting in flight.calls if not waiting.answer.done()]",
        "for waiting in flight.calls]",
        "redis: test_faults.py: a_call_that_gave_up_before_it_left",
    ),
    Mutant(
        "a script that the server forgot is not brought again",
        f"{_REDIS}/connection.py",
        "                lane.forget_scripts()\n",
        "                pass\n",
        "R8 standalone",
    ),
    Mutant(
        "whoever is cancelled takes the next answer along",
        f"{_REDIS}/batching.py",
        "            flight.landed += 1\n",
        "            flight.landed += 1 + waiting.answer.cancelled()\n",
        "R11 standalone",
    ),
    Mutant(
        "a missing reply is not noticed",
        f"{_REDIS}/batching.py",
        "if mark != flight.mark and not",
        "if mark is None and not",
        "redis: test_faults.py: an_error_in_the_place_of_a_mark",
    ),
    Mutant(
        "a slot that is on the move is asked without ASKING",
        f"{_REDIS}/connection.py",
        "lane, asking = target, type(reply) is AskError",
        "lane, asking = target, False",
        "R7 cluster",
    ),
    Mutant(
        "a full server's refusal is taken for an outage",
        f"{_REDIS}/faults.py",
        '"full", StoreFull, False,',
        '"full", StoreUnavailable, False,',
        "R9 standalone",
    ),
    Mutant(
        "an error of SQLite reaches the caller as it is",
        f"{_SQLITE}/worker.py",
        "[explain(error, self._file.path, job.name) for job in failed]",
        "[error for job in failed]",
        "R21 sqlite",
    ),
    Mutant(
        "an error shows the text of a message",
        f"{_SQLITE}/messages.py",
        "        raise AgentConflict(session_id, epoch, session.agent_epoch, session.current_agent)",
        "        raise AgentConflict(f'{session_id} {drafts[0].message.text}', epoch, session.agent_epoch, 'ai')",
        "R16 sqlite",
    ),
    # The package above the stores.
    Mutant(
        "an update may grow over the limits of metadata",
        f"{_LUA}/update_session.lua",
        "if entries > max_entries or bytes > max_bytes then",
        "if entries > max_entries and bytes > max_bytes then",
        "redis: test_contract.py: an_update_that_would_grow_over_the_limits",
    ),
    Mutant(
        "timestamps that differ are the same content",
        "storage/codec.py",
        "not other[16:] or one[16:] == other[16:])",
        "not other[16:] or True)",
        "sqlite: test_contract.py: the_same_id_with_other_content_is_refused",
    ),
    Mutant(
        "a number is read as Lua would read it",
        f"{_REDIS}/codec.py",
        "    if stored.isdigit() and len",
        "    if len",
        "redis: test_faults.py: a_number_that_is_none_is_named",
    ),
    Mutant(
        "one entry of metadata too many is taken",
        "checks.py",
        "    if entries > MAX_METADATA_ENTRIES:",
        "    if entries > MAX_METADATA_ENTRIES + 1:",
        "sqlite: test_bad_inputs.py: bad_metadata_is_refused",
    ),
    Mutant(
        "a cleanup ends with its first failure",
        "cleanup.py",
        "            except ChatSessionError as error:",
        "            except ZeroDivisionError as error:",
        "redis: test_cleanup.py: a_failing_run_is_logged",
    ),
    Mutant(
        "a telemetry hook that fails breaks the call",
        "telemetry/hooks.py",
        "            except Exception:",
        "            except ZeroDivisionError:",
        "sqlite: test_telemetry.py: a_failing_hook",
    ),
)
