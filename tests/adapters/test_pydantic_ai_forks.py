"""Branches and forks of conversations of pydantic-ai."""

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord

from chat_session import SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore
from testkit.adapters.pydantic_ai import answer, save, say, texts


async def test_a_branch_keeps_the_history_it_leaves_and_can_go_back(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    conversation = await save(store, "c", say("1"), answer("2"), say("3"), answer("4"))
    branched = await store.branch("c", at=1, expected_revision=conversation.revision)
    branched.messages.append(answer("other"))
    await store.save(branched)
    assert texts(await store.load("c")) == ["1", "other"]
    record = await store.read_record("c")
    assert record is not None
    back = await store.branch("c", from_entry=record.branches[0], expected_revision=record.revision)
    assert texts(back) == ["1", "2", "3", "4"]
    assert texts(await ManagedConversationStore(manager).load("c")) == ["1", "2", "3", "4"]


async def test_what_others_say_after_a_branch_follows_the_branch(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    conversation = await save(store, "c", say("1"), answer("2"), say("3"), answer("4"))
    await store.branch("c", at=2, expected_revision=conversation.revision)
    await manager.add_message("c", {"from": "user", "text": "by the way"})
    assert texts(await store.load("c")) == ["1", "2", "by the way"]
    await save(store, "c", answer("yes"))
    await manager.add_message("c", {"from": "user", "text": "good"})
    assert texts(await store.load("c")) == ["1", "2", "by the way", "yes", "good"]
    assert texts(await ManagedConversationStore(manager).load("c", limit=3)) == ["by the way", "yes", "good"]


async def test_a_branch_whose_entries_were_trimmed_is_not_found_and_no_error_of_the_store(
    manager: SessionManager,
) -> None:
    store = ManagedConversationStore(manager, max_history=2)
    conversation = await save(store, "c", say("1"), answer("2"))
    record = await store.read_record("c")
    assert record is not None
    tip = record.head_id
    conversation = await store.branch("c", at=1, expected_revision=conversation.revision)
    for number in range(3):
        conversation.messages.append(say(str(number)))
        await store.save(conversation)
    assert await store.read_history(tip) == []
    assert texts(await store.load("c")) == ["1", "2"]


async def test_a_fork_copies_and_outlives_its_source(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await store.save(Conversation(conversation_id="c", messages=[say("1"), answer("2"), say("3")]), scope="ann")
    await manager.add_message("c", {"from": "operator", "text": "Bob here"})
    fork = await store.fork("c", new_conversation_id="f")
    part = await store.fork("c", at=1, new_conversation_id="p")
    empty = await store.fork("c", at=0, new_conversation_id="e")
    entries = await store.load_entries("c")
    assert entries is not None
    await store.delete("c")

    fresh = ManagedConversationStore(manager)
    assert texts(await fresh.load("f")) == texts(fork) == ["1", "2", "3", "Bob here"]
    assert texts(await fresh.load("p")) == texts(part) == ["1"]
    assert texts(await fresh.load("e")) == texts(empty) == []
    assert await fresh.read_entry(entries[0].id) == entries[0]
    record = await fresh.read_record("f")
    assert record is not None
    assert (record.forked_from, record.forked_at, record.scope) == ("c", entries[-1].id, "ann")
    await save(fresh, "f", answer("4"))
    assert texts(await fresh.load("f")) == ["1", "2", "3", "Bob here", "4"]
    assert texts(await fresh.load("p")) == ["1"]


async def test_a_fork_of_what_was_trimmed_is_a_conflict(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    record = ConversationRecord(conversation_id="f", head_id="gone", forked_from="c")
    with pytest.raises(ConversationConflict):
        await store.write_record(record, expected_revision=None)


async def test_a_fork_of_more_than_one_write_carries_is_copied_whole(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    parts = [str(number) + "x" * 900_000 for number in range(10)]
    for part in parts:
        await save(store, "c", say(part))
    await store.fork("c", new_conversation_id="f")
    assert texts(await store.load("f")) == parts


async def test_an_entry_is_found_in_the_session_as_long_as_it_lives(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "other", say("0"))
    await save(store, "c", say("1"), answer("2"))
    entries = await store.load_entries("c")
    assert entries is not None
    fresh = ManagedConversationStore(manager)
    assert await fresh.read_entry(entries[0].id) == entries[0]
    assert await ManagedConversationStore(manager).read_history(entries[1].id) == entries
    await manager.delete_session("c")
    with pytest.raises(LookupError):
        await fresh.read_entry(entries[0].id)
    with pytest.raises(LookupError):
        await fresh.read_history(entries[0].id)
