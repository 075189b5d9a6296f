"""Faults planted into the desk: its steps, its queue, the presence of operators, and the fence around the AI."""

from chaos.mutant import Mutant

_LUA, _INCLUDE = "storage/redis/lua/desk", "storage/redis/lua/include"
_REDIS, _SQLITE = "storage/redis/desk", "storage/sqlite"

_TWO_CALLS = """\
            bare = step._replace(decide=lambda read: (found := step.decide(read)) and found._replace(messages=()))
            stepped = await self._desk.take_step(session_id, bare)
            change = None if stepped.change is None else step.decide(stepped.read)
            if change is not None:
                await self._calls.store.sessions.append_messages(session_id, change.messages, None)
"""

DESK = (
    # A step is done once, on what was read.
    Mutant(
        "a step is taken although the session is not as it was read",
        f"{_LUA}/step_desk.lua",
        "if stored ~= seen_facts or epoch ~= seen_epoch or not same_ttl then",
        "if false then",
        "R29 standalone",
    ),
    Mutant(
        "a repeated step is not known",
        f"{_LUA}/step_desk.lua",
        "if repeated or (own and answer[2 * n] ~= 0) then",
        "if own and answer[2 * n] ~= 0 then",
        "R30 standalone",
    ),
    Mutant(
        "an answer that is sent again takes over again",
        f"{_LUA}/step_desk.lua",
        "if repeated or (own and answer[2 * n] ~= 0) then",
        "if repeated then",
        "R29 standalone",
    ),
    Mutant(
        "an answer that is sent again takes over again, SQLite",
        f"{_SQLITE}/desk_steps.py",
        "(known := find_duplicate(db, session.session_id, step.message)) is not None:",
        "(known := find_duplicate(db, session.session_id, step.message)) is step:",
        "R35 sqlite",
    ),
    Mutant(
        "the marker is written in a second call",
        "desk.py",
        "            stepped = await self._desk.take_step(session_id, step)\n",
        _TWO_CALLS,
        "R29 standalone",
    ),
    Mutant(
        "the marker is written in a second call, SQLite",
        "desk.py",
        "            stepped = await self._desk.take_step(session_id, step)\n",
        _TWO_CALLS,
        "R35 sqlite",
    ),
    Mutant(
        "what the customer is told is not stored with the step",
        "handoff.py",
        "(marker.draft(),) if say is None else (marker.draft(), say))",
        "(marker.draft(),))",
        "R35 sqlite",
    ),
    Mutant(
        "an answer does not take over",
        "handoff.py",
        "change = taking(read) or Change(read.facts, None, None)",
        "change = Change(read.facts, None, None)",
        "R35 sqlite",
    ),
    Mutant(
        "a customer can read who took the session",
        "markers.py",
        "internal=self.is_internal,",
        "internal=False,",
        "R35 sqlite",
    ),
    Mutant(
        "an operator takes a step with a session that another one has",
        "handoff.py",
        'if read.facts.state != "assigned" or read.facts.operator != operator:',
        'if read.facts.state != "assigned":',
        "R35 sqlite",
    ),
    # The fence around the AI.
    Mutant(
        "a step does not begin an epoch",
        f"{_LUA}/step_desk.lua",
        "change('agentEpoch', string.format('%d', epoch + 1))",
        "change('agentEpoch', string.format('%d', epoch))",
        "R29 standalone",
    ),
    Mutant(
        "a step does not begin an epoch, SQLite",
        f"{_SQLITE}/desk_steps.py",
        "epoch = read.epoch + 1",
        "epoch = read.epoch",
        "R35 sqlite",
    ),
    Mutant(
        "a request never holds the AI",
        "handoff.py",
        'return _change(waiting, "human" if hold_ai else None, marker, say)',
        "return _change(waiting, None, marker, say)",
        "R35 sqlite",
    ),
    Mutant(
        "a check takes any epoch for the current one",
        "storage/redis/lua/sessions/check_epoch.lua",
        "if current ~= epoch then",
        "if current < epoch then",
        "R29 standalone",
    ),
    Mutant(
        "a check takes any epoch for the current one, SQLite",
        f"{_SQLITE}/sessions.py",
        "    if epoch != session.agent_epoch:\n        raise AgentConflict(session_id, epoch, session.agent_epoch, ",
        "    if epoch > session.agent_epoch:\n        raise AgentConflict(session_id, epoch, session.agent_epoch, ",
        "R35 sqlite",
    ),
    Mutant(
        "the record of what a tool did is refused in a later epoch",
        f"{_INCLUDE}/refuse_visible.lua",
        "if answer[2 * i] == 0 and not internal then",
        "if answer[2 * i] == 0 then",
        "R29 standalone",
    ),
    # The queue and the seats follow.
    Mutant(
        "an entry follows also an earlier step",
        f"{_LUA}/reconcile_desk.lua",
        "local newer = not before or stamp > before.stamp",
        "local newer = true",
        "R30 standalone",
    ),
    Mutant(
        "no check is planned before a step",
        f"{_REDIS}/steps.py",
        "if step.is_checked and _moves(read, change) else []",
        "if False else []",
        "R29 standalone",
    ),
    Mutant(
        "a claim that crashed leaves its session out of the queue",
        f"{_INCLUDE}/overdue.lua",
        "    if entry then put(session, entry) end\n",
        "",
        "R29 standalone",
    ),
    Mutant(
        "a leased entry can be leased again",
        f"{_LUA}/lease_entry.lua",
        "call('ZREM', queue, session)\ncall('ZREM', teams, entry.team .. '\\n' .. entry.place .. '\\n' .. session)\n",
        "",
        "R29 standalone",
    ),
    Mutant(
        "a repeated lease is not known",
        f"{_LUA}/lease_entry.lua",
        "if leased then return",
        "if false then return",
        "R30 standalone",
    ),
    Mutant(
        "a seat is not freed",
        f"{_INCLUDE}/place.lua",
        "  call('ZREM', seats, entry.operator .. '\\n' .. session)\n",
        "",
        "R29 standalone",
    ),
    Mutant(
        "a hand-back leaves the session in the queue of its team",
        f"{_INCLUDE}/place.lua",
        "  call('ZREM', teams, entry.team .. '\\n' .. entry.place .. '\\n' .. session)\n",
        "",
        "R29 standalone",
    ),
    Mutant(
        "of several teams the one that waits last is claimed",
        f"{_LUA}/lease_entry.lua",
        "place < first",
        "place > first",
        "R29 standalone",
    ),
    Mutant(
        "the lowest priority is claimed first, SQLite",
        f"{_SQLITE}/queries.sql",
        "(desk_place, session_id) > (:place, CAST(:session_id AS TEXT))\nORDER BY desk_place, session_id LIMIT 1;\n\n"
        "-- name: find_first_waiting_in_team",
        "(desk_place, session_id) > (:place, CAST(:session_id AS TEXT))\nORDER BY desk_place DESC LIMIT 1;\n\n"
        "-- name: find_first_waiting_in_team",
        "R35 sqlite",
    ),
    Mutant(
        "a higher priority waits longer",
        "handoff.py",
        "(HIGHEST_PRIORITY - facts.priority) * PRIORITY_STEP",
        "facts.priority * PRIORITY_STEP",
        "R35 sqlite",
    ),
    # Lifetimes.
    Mutant(
        "a session keeps the longer ttl when people have left it",
        "handoff.py",
        "        return facts, own\n",
        "        return facts, stored_ttl\n",
        "R35 sqlite",
    ),
    Mutant(
        "a session that waits does not live longer",
        "handoff.py",
        "desk_ttl=waiting_ttl), waiting_ttl",
        "desk_ttl=waiting_ttl), own",
        "R35 sqlite",
    ),
    # Presence.
    Mutant(
        "a sweep takes all operators for absent",
        f"{_LUA}/mark_lapsed.lua",
        "call('ZRANGEBYSCORE', presence, '-inf', now_ms, 'LIMIT', 0, limit)) do",
        "call('ZRANGEBYSCORE', presence, '-inf', '+inf', 'LIMIT', 0, limit)) do",
        "R33 standalone",
    ),
    Mutant(
        "a sweep takes all operators for absent, SQLite",
        f"{_SQLITE}/queries.sql",
        "SET present_until = NULL WHERE present_until <= :moment",
        "SET present_until = NULL WHERE present_until > 0",
        "R33 sqlite",
    ),
    Mutant(
        "a lapse is counted by each sweep that meets it",
        f"{_INCLUDE}/lapse.lua",
        "  call('ZREM', presence, operator)\n",
        "",
        "R33 standalone",
    ),
    Mutant(
        "a lapse is not counted",
        f"{_INCLUDE}/lapse.lua",
        "    call('HINCRBY', counts, string.format('%.0f:lapses', math.floor(now_us / 300000000)), 1)\n",
        "",
        "R33 standalone",
    ),
    Mutant(
        "a step is no sign of its operator",
        f"{_REDIS}/steps.py",
        "        if step.actor is not None:\n            commands.append(self._renewal(step.actor, is_sign=1))\n",
        "",
        "R33 standalone",
    ),
    Mutant(
        "a step is no sign of its operator, SQLite",
        f"{_SQLITE}/desk_steps.py",
        "    if step.actor is not None:\n        renew(db, step.actor, moment, lease)\n",
        "",
        "R33 sqlite",
    ),
    # What single calls show.
    Mutant(
        "who declines puts the session to the end of the queue",
        "handoff.py",
        "waiting_since=waiting_since or facts.waiting_since or read.now",
        "waiting_since=waiting_since or read.now",
        "sqlite: test_contract.py: back_to_its_old_place",
    ),
    Mutant(
        "a lapse takes also sessions of a later presence",
        "handoff.py",
        "facts.operator != operator or facts.presence > generation:",
        "facts.operator != operator:",
        "sqlite: test_handoff.py: a_lapse",
    ),
    Mutant(
        "a polite answer takes over",
        "handoff.py",
        'taking = assign(operator, "answered", lambda _: not polite)',
        'taking = assign(operator, "answered", lambda _: True)',
        "sqlite: test_contract.py: a_polite_answer",
    ),
    Mutant(
        "an operator may claim beyond the capacity",
        f"{_LUA}/lease_entry.lua",
        "if assigned >= capacity then",
        "if assigned > capacity then",
        "redis: test_contract.py: an_operator_at_capacity",
    ),
)
