"""A session that is stored as it was elsewhere while it waits for a person, or one has it."""

import sqlite3

import msgspec

from chat_session.clock import now_us
from chat_session.desk_status import facts_of, find_status
from chat_session.handoff import Read, adopt, complete
from chat_session.session import Session
from chat_session.storage.sqlite.desk_rows import save_facts
from chat_session.storage.sqlite.queries import SQL


def restore_desk(db: sqlite3.Connection, session: Session, waiting_ttl: int) -> Session:
    """Put a session that was just inserted into the queue, or give it to its operator; the session as it is then read.

    Its ttl is that of a session that depends on people. Whether its operator is present is unknown here: without a
    step of that operator on the session, the next sweep puts it back into the queue.
    """
    session_id, epoch = session.session_id, session.agent_epoch
    facts = facts_of(session.desk, epoch)
    if facts is not None:
        read = Read(session_id, facts, epoch, now_us())
        stored, ttl = complete(read, adopt(read), session.ttl, waiting_ttl)
        save_facts(db, session_id, stored, ttl)
        if facts.operator is not None:
            db.execute(SQL["insert_absent_operator"], (facts.operator,))
    status = find_status(facts, session.current_agent, epoch, session.agent_switched_at)
    return msgspec.structs.replace(session, desk=status)
