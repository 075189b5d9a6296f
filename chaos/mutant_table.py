"""Faults planted on purpose. Each is one small change of the package, and names the test that must find it.

A test is either a fault test and its store ("R8 standalone"), or a store, a file of tests and an expression that
chooses some of them ("redis: test_cleanup.py: a_failing_run_is_logged").
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """``old`` is in ``file`` exactly once, and is replaced by ``new``."""

    name: str
    file: str
    old: str
    new: str
    test: str


_LUA, _REDIS, _SQLITE = "storage/redis/lua", "storage/redis", "storage/sqlite"

_LEAK = """\
        if connection is not None:
            self.__dict__.setdefault("leaked", []).append((connection.inner._reader, connection.inner._writer))
            connection.inner._reader = connection.inner._writer = None
"""

TABLE = (
    # What the checker was once blind to.
    Mutant(
        "every other switch begins two epochs, Redis",
        f"{_LUA}/sessions/switch_agent.lua",
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
        f"{_LUA}/sessions/extend_session.lua",
        "'lastActiveAt', now)",
        "'lastActiveAt', now, 'agentEpoch', string.format('%d', epoch + 1))",
        "R8 standalone",
    ),
    Mutant(
        "a connection leaks at each fault",
        f"{_REDIS}/net/pipeline.py",
        "        if connection is not None:\n            await connection.abort()\n",
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
        "        return last - len(elements) + 1, elements\n",
        "        return last - len(elements) + 1, elements[:1] if last == 2 else elements\n",
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
        f"{_LUA}/sessions/set_ttl.lua",
        "call('HSET', meta, 'ttl', ARGV[2])\n",
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
        f"{_LUA}/index/read_entries.lua",
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
        f"{_LUA}/sessions/update_session.lua",
        "for i = 5, 4 + removed do redis.call('HDEL', meta, ARGV[i]) end",
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
        "  local known = call('HGET', ids, ARGV[at])\n",
        "  local known = false\n",
        "R2 standalone",
    ),
    Mutant(
        "a repeated switch is not known",
        f"{_LUA}/sessions/switch_agent.lua",
        "if repeated then\n",
        "if false then\n",
        "R2 standalone",
    ),
    Mutant(
        "a repeated creation is not known",
        f"{_LUA}/sessions/create_session.lua",
        "if owner and created == token then",
        "if false then",
        "R2 standalone",
    ),
    Mutant(
        "one message too many is trimmed",
        f"{_LUA}/include/push.lua",
        "call('LPOP', history, length - max_history)",
        "call('LPOP', history, length - max_history + 1)",
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
        f"{_LUA}/sessions/append_messages.lua",
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
        f"{_LUA}/sessions/switch_agent.lua",
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
        f"{_LUA}/sessions/append_messages.lua",
        "expire(find_deadline(ttl), meta, agent, history, ids)",
        "expire(find_deadline(ttl), meta, agent)",
        "R8 standalone",
    ),
    Mutant(
        "a new session has no deadline",
        f"{_LUA}/sessions/create_session.lua",
        "expire(deadline, meta)\n",
        "",
        "R14 standalone",
    ),
    Mutant(
        "a switch does not write the agent's own key",
        f"{_LUA}/sessions/switch_agent.lua",
        "set(agent, new_agent, deadline, 'GET')",
        "call('GET', agent)",
        "R8 standalone",
    ),
    Mutant(
        "a creation makes no due entry",
        f"{_LUA}/sessions/create_session.lua",
        "for i = 5, #KEYS do call('ZADD', KEYS[i], scores[i], ARGV[2 * i - 3]) end\n",
        "call('ZADD', KEYS[6], scores[6], ARGV[9])\n",
        "R8 standalone",
    ),
    Mutant(
        "a deletion leaves the entry in the user's list",
        f"{_LUA}/sessions/delete_session.lua",
        "for i = 5, #KEYS do redis.call('ZREM', KEYS[i], ARGV[i - 3]) end\n",
        "redis.call('ZREM', KEYS[5], ARGV[2])\n",
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
        f"{_LUA}/index/reconcile_entries.lua",
        "if dead == 'reap' or not scores[2] then return {'DEAD', scores[2] and 1 or 0} end",
        "if dead == 'reap' or not scores[2] then return {'DEAD', 1} end",
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
        "an entry is in another bucket than its session's",
        f"{_REDIS}/keys.py",
        "crc32(session_id.encode()) % BUCKETS",
        "(crc32(session_id.encode()) + 1) % BUCKETS",
        "redis: test_stored_bytes.py: keys_of_both_layouts",
    ),
    # Faults on the way.
    Mutant(
        "a lost answer is told as a failure",
        f"{_REDIS}/net/executor.py",
        "outcome_unknown=unknown)",
        "outcome_unknown=False)",
        "redis: test_faults.py: a_failed_append_carries",
    ),
    Mutant(
        "a call that gave up before it left is sent afterwards",
        f"{_REDIS}/net/pipeline.py",
        "            if not pending.reply.done():  # cancelled, or expired, while it was queued\n",
        "            if not pending.reply.cancelled():\n",
        "redis: test_faults.py: a_call_that_gave_up_before_it_left",
    ),
    Mutant(
        "a script that the server forgot is not brought again",
        f"{_REDIS}/net/executor.py",
        "                server.forget_scripts()\n",
        "                pass\n",
        "R8 standalone",
    ),
    Mutant(
        "a cancelled caller takes the next answer",
        f"{_REDIS}/net/pipeline.py",
        "        for pending in batch.commands:\n            reply = connection.take()\n",
        "        for pending in filter(lambda each: not each.reply.cancelled(), batch.commands):\n"
        "            reply = connection.take()\n",
        "R11 standalone",
    ),
    Mutant(
        "a missing reply is not noticed",
        f"{_REDIS}/net/pipeline.py",
        "if echoed != batch.barrier and not",
        "if echoed is None and not",
        "redis: test_faults.py: an_error_in_the_place_of_a_mark",
    ),
    Mutant(
        "a slot that is on the move is asked without ASKING",
        f"{_REDIS}/net/executor.py",
        "server, asking = target, type(reply) is AskError",
        "server, asking = target, False",
        "cluster: test_topologies.py: a_slot_that_moves",
    ),
    Mutant(
        "a full server's refusal is taken for an outage",
        f"{_REDIS}/net/faults.py",
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
        f"{_LUA}/sessions/update_session.lua",
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
    Mutant(
        "a write that too few replicas confirmed is acknowledged",
        f"{_REDIS}/net/pipeline.py",
        "is_enough = isinstance(confirmed, int) and confirmed >= wanted",
        "is_enough = isinstance(confirmed, int)",
        "sentinel: test_topologies.py: too_few_replicas",
    ),
    Mutant(
        "one of several writers decides alone what an index entry becomes",
        f"{_LUA}/index/finish_entry.lua",
        "tonumber(begun) % 1 < 0.5",
        "true",
        "redis: test_index_model.py: two_calls",
    ),
    Mutant(
        "a session that was changed meanwhile is taken for dead, on a cluster",
        f"{_REDIS}/index/cluster.py",
        "not _is_left_to_writers(entry)]",
        "True]",
        "redis: test_index_model.py: three_calls",
    ),
)
