"""The checker of the fault tests must detect every promise that is broken, and accept what is allowed."""

from pathlib import Path

import pytest

from chaos.case import Allowances
from chaos.checker import Verdict, check
from chaos.history import MARK, Operation, Recorder, read_history, text_of
from chaos.snapshot import Snapshot, StoredSession, VisibleMessage, VisibleSession
from chat_session import StoreUnavailable

DEADLINE = 2_000_000
CREATED = 900_000_000  # in microseconds, as the index of a user has it


class Case:
    """A session "s" of user "u" with two messages of one writer. Nothing is wrong with it until a test changes it."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.create = self.op("create", user="u", ttl=3600)
        self.first = self.op("append", id="w-1", seq=1)
        self.second = self.op("append", id="w-2", seq=2)
        self.messages = [VisibleMessage(1, "w-1", text_of("s", "w-1")), VisibleMessage(2, "w-2", text_of("s", "w-2"))]
        self.visible = VisibleSession("u", 2, 0, "ai", self.messages)
        parts: dict[str, int | None] = dict.fromkeys(("meta", "agent", "history", "ids"), DEADLINE)
        self.stored = StoredSession(parts, "u", 3600, 2, 2, "ai", "ai", {"w-1": 1, "w-2": 2})
        self.snapshot = Snapshot({"s": self.visible}, {"u": {"s"}}, {"s"}, 1, {"s": self.stored}, now=1_000_000.0)
        self.snapshot.due["s", "u"] = DEADLINE
        self.snapshot.by_user["s", "u"] = CREATED

    def op(self, kind: str, outcome: str = "ok", **facts: object) -> Operation:
        op = self.recorder.begin(kind, "s", "w", **facts)
        op.outcome, op.ended = outcome, op.begun
        return op

    def store(self, message_id: str) -> None:
        """Put one more message where a correct store would have it."""
        seq = self.visible.count = self.stored.count = self.visible.count + 1
        self.stored.length += 1
        self.stored.ids[message_id] = seq
        self.messages.append(VisibleMessage(seq, message_id, text_of("s", message_id)))

    def judge(self, allowances: Allowances | None = None, **heard: list[str]) -> Verdict:
        return check(self.recorder.history, self.snapshot, allowances, **heard)

    def broken(self, allowances: Allowances | None = None, **heard: list[str]) -> set[str]:
        return {violation.invariant for violation in self.judge(allowances, **heard).violations}


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_history_without_a_flaw_breaks_nothing(case: Case) -> None:
    case.op("append", "unknown", id="w-3")
    case.op("append", "failed", id="w-4")
    assert case.judge().violations == []


def test_a_lost_message_is_seen(case: Case) -> None:
    del case.messages[1]
    case.visible.count = case.stored.count = case.stored.length = 1
    del case.stored.ids["w-2"]
    verdict = case.judge()
    assert [(v.invariant, v.session) for v in verdict.violations] == [("I1", "s")]
    assert "w-2" in verdict.violations[0].text
    assert [op.id for op in verdict.lost] == ["w-2"]


def test_a_lost_message_is_counted_and_allowed_where_the_server_may_lose(case: Case) -> None:
    del case.messages[1]
    case.visible.count = case.stored.count = case.stored.length = 1
    del case.stored.ids["w-2"]
    verdict = case.judge(Allowances(lossy=True))
    assert (verdict.violations, len(verdict.lost)) == ([], 1)


def test_a_lost_session_is_seen(case: Case) -> None:
    case.snapshot = Snapshot(now=1_000_000.0)
    assert case.broken() == {"I1"}


def test_a_lost_session_is_counted_and_allowed_where_the_server_may_lose(case: Case) -> None:
    case.snapshot = Snapshot(now=1_000_000.0)
    verdict = case.judge(Allowances(lossy=True))
    assert (verdict.violations, case.create in verdict.lost) == ([], True)


@pytest.mark.parametrize(("count", "broken"), [(2, {"I1"}), (3, set()), (4, set()), (5, {"I2"})])
def test_of_trimmed_messages_as_many_are_counted_as_were_stored(case: Case, count: int, broken: set[str]) -> None:
    case.first.seq, case.second.seq = 1, count
    case.op("append", id="w-0", seq=2 if count > 2 else 1)
    case.op("append", "unknown", id="w-3")
    case.messages[:] = [VisibleMessage(count, "w-2", text_of("s", "w-2"))]
    case.visible.count = case.stored.count = count
    case.stored.length, case.stored.ids = 1, {"w-2": count}
    assert case.broken(Allowances(bound=1)) - {"I3"} == broken


def test_a_living_session_that_is_told_as_nothing_is_seen(case: Case) -> None:
    case.op("get", count=1, seq=2, ttl=3600)
    case.op("history", count=2, seq=2)
    assert case.broken() == set()
    case.op("get").begun += 1
    assert "I5" in case.broken()
    case.recorder.history.pop()
    case.op("history").begun += 1
    assert "I5" in case.broken()


def test_a_deleted_session_may_be_gone_and_must_be(case: Case) -> None:
    case.op("delete")
    assert case.broken() == {"I5"}
    case.snapshot = Snapshot(now=1_000_000.0)
    assert case.broken() == set()


def test_a_doubled_message_is_seen(case: Case) -> None:
    case.store("w-1")
    verdict = case.judge()
    assert "I1" in {violation.invariant for violation in verdict.violations}
    assert verdict.doubled == 1


def test_a_doubled_message_of_unknown_outcome_is_seen(case: Case) -> None:
    case.op("append", "unknown", id="w-3")
    case.store("w-3")
    assert case.broken() == set()
    case.store("w-3")
    assert "I2" in case.broken()


def test_a_failed_message_that_landed_is_seen(case: Case) -> None:
    case.op("append", "failed", id="w-3")
    case.store("w-3")
    assert case.broken() == {"I2"}


def test_a_message_that_failed_first_and_was_sent_again_may_be_there(case: Case) -> None:
    case.op("append", "failed", id="w-3")
    case.op("append", id="w-3", seq=3)
    case.store("w-3")
    assert case.broken() == set()


def test_a_message_that_nobody_sent_is_seen(case: Case) -> None:
    case.store("x")
    assert case.broken() == {"I2"}


def test_a_gap_is_seen(case: Case) -> None:
    case.messages[1].seq = case.second.seq = case.stored.ids["w-2"] = 3
    case.visible.count = case.stored.count = 3
    assert "I3" in case.broken()


def test_reordered_messages_of_one_writer_are_seen(case: Case) -> None:
    case.first.seq, case.second.seq = 2, 1
    case.messages[:] = [VisibleMessage(1, "w-2", text_of("s", "w-2")), VisibleMessage(2, "w-1", text_of("s", "w-1"))]
    case.stored.ids = {"w-1": 2, "w-2": 1}
    assert case.broken() == {"I3"}


def test_a_message_that_was_given_up_may_land_late(case: Case) -> None:
    case.first.abandoned, case.first.outcome, case.first.seq, case.second.seq = True, "unknown", None, 1
    case.messages[:] = [VisibleMessage(1, "w-2", text_of("s", "w-2")), VisibleMessage(2, "w-1", text_of("s", "w-1"))]
    case.stored.ids = {"w-1": 2, "w-2": 1}
    assert case.broken() == set()


def test_a_seq_that_was_given_twice_is_seen(case: Case) -> None:
    case.second.seq = 1
    assert "I3" in case.broken()


def test_an_id_remembered_at_another_seq_is_seen(case: Case) -> None:
    case.stored.ids["w-2"] = 7
    assert case.broken() == {"I3"}


def test_more_or_fewer_messages_than_the_bound_are_seen(case: Case) -> None:
    assert case.broken(Allowances(bound=2)) == set()
    assert case.broken(Allowances(bound=1)) == {"I4"}
    del case.messages[0]
    case.stored.length = 1
    del case.stored.ids["w-1"]
    assert case.broken(Allowances(bound=1)) == set()
    assert "I4" in case.broken(Allowances(bound=2))


@pytest.mark.parametrize("part", ["agent", "history", "ids"])
def test_a_missing_key_is_seen(case: Case, part: str) -> None:
    del case.stored.deadlines[part]
    assert case.broken() == {"I5"}
    assert case.judge().inconsistent == 1


def test_what_is_left_without_meta_is_seen(case: Case) -> None:
    case.snapshot.stored["t"] = StoredSession({"history": DEADLINE}, length=1)
    assert case.broken() == {"I5"}


def test_two_agents_in_one_session_are_seen(case: Case) -> None:
    case.stored.agent = "human"
    assert case.broken() == {"I5"}


def test_an_id_without_its_message_is_seen(case: Case) -> None:
    case.stored.ids["w-0"] = 0
    assert case.broken() == {"I5"}


def test_a_session_that_a_caller_could_not_find_is_seen(case: Case) -> None:
    case.op("extend", "failed").error = "SessionNotFound: session 's' does not exist"
    assert case.broken() == {"I5"}


def test_a_key_without_a_deadline_is_seen(case: Case) -> None:
    case.stored.deadlines["history"] = None
    assert case.broken() == {"I6"}
    case.stored.deadlines = dict.fromkeys(case.stored.deadlines, None)
    assert "I6" in case.broken()


def test_two_deadlines_are_seen(case: Case) -> None:
    case.stored.deadlines["ids"] = DEADLINE + 1
    assert case.broken() == {"I6"}


def test_a_session_that_never_expires_has_no_deadline(case: Case) -> None:
    case.stored.ttl = case.create.ttl = None
    assert case.broken() == {"I6"}
    case.stored.deadlines = dict.fromkeys(case.stored.deadlines, None)
    case.snapshot.due["s", "u"] = float("inf")
    assert case.broken() == set()


def test_an_index_entry_of_a_dead_session_is_seen(case: Case) -> None:
    case.snapshot.due["dead", "u"] = 900_000
    assert case.broken() == {"I7"}


def test_an_entry_that_was_begun_a_moment_ago_may_wait_for_its_session(case: Case) -> None:
    case.snapshot.by_user["coming", "u"] = CREATED
    case.snapshot.due["coming", "u"] = 990_000.5
    assert case.broken() == set()
    case.snapshot.due["coming", "u"] = 900_000.5
    assert case.broken() == {"I7"}


def test_a_session_whose_creator_was_cut_off_may_wait_a_minute_for_its_users_list(case: Case) -> None:
    case.snapshot.due["s", "u"] = 990_000.5
    case.snapshot.listed["u"].clear()
    case.snapshot.by_user.clear()
    assert case.broken() == {"I7"}
    case.create.outcome = "unknown"
    assert case.broken() == set()
    case.snapshot.due["s", "u"] = 900_000.5
    assert case.broken() == {"I7"}


def test_an_entry_in_a_wrong_bucket_is_seen(case: Case) -> None:
    case.snapshot.strays.append("b's/u' in sessions:due:3")
    assert case.broken() == {"I7"}


@pytest.mark.parametrize("index", ["due", "by_user"])
def test_a_living_session_without_an_index_entry_or_with_one_that_says_it_is_dead_is_seen(
    case: Case, index: str
) -> None:
    entries = getattr(case.snapshot, index)
    entries["s", "u"] = 0
    assert case.broken() == {"I7"}
    entries.clear()
    assert case.broken() == {"I7"}


def test_an_index_entry_later_than_the_deadline_is_seen(case: Case) -> None:
    case.snapshot.due["s", "u"] = DEADLINE + 1
    assert case.broken() == {"I7"}


def test_a_session_missing_from_a_list_or_a_scan_is_seen(case: Case) -> None:
    case.snapshot.listed["u"] = set()
    assert case.broken() == {"I7"}
    case.snapshot.listed["u"] = {"s"}
    case.snapshot.scanned = set()
    assert case.broken() == {"I7"}


def test_a_wrong_count_is_seen(case: Case) -> None:
    case.snapshot.counted = 2
    assert case.broken() == {"I8"}


def test_a_death_counted_twice_is_seen(case: Case) -> None:
    case.op("sweep", count=2)
    case.op("sweep", count=1)
    assert case.broken(Allowances(deaths=3)) == set()
    assert case.broken(Allowances(deaths=2)) == {"I9"}


def test_what_is_left_after_the_end_is_seen(case: Case) -> None:
    assert "I10" in case.broken(Allowances(empty=True))
    case.snapshot = Snapshot(now=1_000_000.0)
    assert case.broken(Allowances(empty=True)) == set()


def test_a_stale_epoch_that_landed_is_seen(case: Case) -> None:
    case.op("switch", id="note", epoch=1, expect=0, agent="ai")
    case.store("note")
    case.visible.epoch = 1
    case.op("append", id="w-4", seq=4, epoch=1)
    case.store("w-4")
    assert case.broken() == set()
    case.op("append", id="w-5", seq=5, epoch=0)
    case.store("w-5")
    assert case.broken() == {"I11"}


def test_a_switch_of_unknown_outcome_fences_when_its_note_is_there(case: Case) -> None:
    case.op("switch", "unknown", id="note", expect=0)
    case.store("note")
    case.visible.epoch = 1
    case.op("append", id="w-4", seq=4, epoch=0)
    case.store("w-4")
    assert case.broken() == {"I11"}


def test_two_winners_of_one_epoch_are_seen(case: Case) -> None:
    case.op("switch", epoch=1)
    case.op("switch", epoch=1)
    case.visible.epoch = 2
    assert case.broken() == {"I11"}


def test_a_switch_that_begins_two_epochs_is_seen(case: Case) -> None:
    for epoch in (1, 2):
        case.op("switch", id=f"note{epoch}", epoch=epoch, agent="ai")
        case.store(f"note{epoch}")
    case.visible.epoch = 2
    assert case.broken() == set()
    case.recorder.history[-1].epoch = case.visible.epoch = 3
    assert case.broken() == {"I11"}


def test_a_final_epoch_or_agent_that_does_not_match_the_switches_is_seen(case: Case) -> None:
    case.op("switch", id="note", epoch=1, agent="human")
    case.store("note")
    case.visible.epoch, case.visible.agent = 1, "human"
    case.stored.agent = case.stored.current_agent = "human"
    assert case.broken() == set()
    case.visible.epoch = 2
    assert case.broken() == {"I11"}
    case.visible.epoch, case.visible.agent = 1, "ai"
    case.stored.agent = case.stored.current_agent = "ai"
    assert case.broken() == {"I11"}


def test_a_switch_of_unknown_outcome_begins_an_epoch_if_its_note_is_there_and_else_none(case: Case) -> None:
    case.op("switch", "unknown", id="note", agent="ai")
    assert case.broken() == set()
    case.visible.epoch = 1
    assert case.broken() == {"I11"}
    case.store("note")
    assert case.broken() == set()
    case.visible.epoch = 0
    assert case.broken() == {"I11"}


def test_a_reader_that_is_given_one_message_after_two_were_acknowledged_is_seen(case: Case) -> None:
    read = case.op("history", count=1, seq=1, limit=20)
    read.ended = read.begun + 0.001
    assert case.broken() == {"I15"}
    read.begun = case.second.begun  # it began before the second message was acknowledged
    assert case.broken() == set()


def test_a_reader_that_is_given_fewer_messages_than_there_are_is_seen(case: Case) -> None:
    case.op("history", count=1, seq=2, limit=20)
    assert case.broken() == {"I15"}


def test_a_reader_that_is_shown_less_than_another_before_it_is_seen(case: Case) -> None:
    case.op("append", "unknown", id="w-3")
    case.store("w-3")
    case.op("history", count=3, seq=3, limit=20)
    case.op("history", count=2, seq=2, limit=20)
    assert case.broken() == {"I15"}
    assert case.broken(Allowances(unconfirmed_reads=True)) == set()
    assert case.broken(Allowances(stale_reads=True)) == set()


def test_a_ttl_other_than_the_last_one_asked_for_is_seen(case: Case) -> None:
    case.op("set_ttl", ttl=7200)
    assert case.broken() == {"I16"}
    case.stored.ttl = 7200
    assert case.broken() == set()
    case.op("get", count=1, seq=2, ttl=3600)
    assert case.broken() == {"I16"}


def test_a_deadline_that_is_not_ttl_after_the_last_activity_is_seen(case: Case) -> None:
    case.snapshot.zero = DEADLINE - 3600 * 1000 - case.second.begun * 1000
    assert case.broken() == set()
    case.snapshot.zero -= 1000
    assert case.broken() == {"I16"}
    case.snapshot.zero += 2000
    assert case.broken() == {"I16"}
    case.op("extend", "unknown").begun += 5  # it may have moved the deadline, then or later
    assert case.broken() == {"I16"}
    case.snapshot.zero -= 2000
    assert case.broken() == set()


def test_wrong_metadata_is_seen(case: Case) -> None:
    case.create.metadata = {"of": "s"}
    assert case.broken() == {"I16"}
    case.visible.metadata = {"of": "s"}
    assert case.broken() == set()
    case.op("update", metadata={"mood": "calm"})
    assert case.broken() == {"I16"}
    case.visible.metadata = {"of": "s", "mood": "calm"}
    assert case.broken() == set()
    case.op("update", metadata={"mood": None})
    assert case.broken() == {"I16"}
    del case.visible.metadata["mood"]
    assert case.broken() == set()
    case.op("get", count=1, seq=2, ttl=3600, metadata={"of": "s", "mood": "calm"})
    assert case.broken() == {"I16"}


def test_metadata_of_an_unknown_update_may_be_there(case: Case) -> None:
    case.op("update", "unknown", metadata={"mood": "calm"})
    assert case.broken() == set()
    case.visible.metadata = {"mood": "calm"}
    assert case.broken() == set()


@pytest.mark.parametrize("kind", ["count", "list"])
def test_a_wrong_count_or_list_in_the_middle_of_a_run_is_seen(case: Case, kind: str) -> None:
    case.recorder.begin(kind, "", "w", user="u" * (kind == "list"), count=1).outcome = "ok"
    told = case.recorder.history[-1]
    told.ended = told.begun
    assert case.broken() == set()
    told.count = 0
    assert case.broken() == {"I8"}
    told.count = 2
    assert case.broken() == {"I8"}


def test_a_session_that_is_still_counted_after_it_was_deleted_is_seen(case: Case) -> None:
    case.op("delete")
    case.snapshot = Snapshot(now=1_000_000.0)
    told = case.recorder.begin("count", "", "w", count=1)
    told.outcome, told.ended = "ok", told.begun + 1
    assert case.broken() == {"I8"}
    told.count = 0
    assert case.broken() == set()


def test_an_untyped_error_is_seen(case: Case) -> None:
    with pytest.raises(AttributeError), case.recorder.operation("history", "s", "w"):
        raise AttributeError("'NoneType' object has no attribute 'read'")
    assert case.broken() == {"I12"}


def test_an_error_that_nobody_caught_is_seen(case: Case) -> None:
    assert case.broken(unhandled=["Task exception was never retrieved"]) == {"I12"}


def test_a_repeat_that_was_taken_for_another_message_is_seen(case: Case) -> None:
    case.op("append", "failed", id="w-1").error = "MessageConflict: message id 'w-1' is stored"
    assert case.broken() == {"I12"}


@pytest.mark.parametrize(
    ("kind", "error"), [("create", "SessionExists: s"), ("append", "StoreCorrupt: s"), ("get", "StoreDenied: s")]
)
def test_an_error_without_a_ground_is_seen(case: Case, kind: str, error: str) -> None:
    case.op(kind, "failed").error = error
    assert case.broken() == {"I12"}


def test_an_answer_to_somebody_else_is_seen(case: Case) -> None:
    case.op("history", count=2, seq=2).mismatch = "with the text of another session"
    assert case.broken() == {"I13"}


def test_a_text_in_another_session_is_seen(case: Case) -> None:
    case.messages[0].text = text_of("t", "w-1")
    assert case.broken() == {"I13"}


def test_a_text_in_a_log_or_an_error_is_seen(case: Case) -> None:
    with pytest.raises(StoreUnavailable), case.recorder.operation("append", "s", "w", id="w-9"):
        raise StoreUnavailable(f"could not store {MARK}")
    assert MARK not in case.recorder.history[-1].error
    assert case.broken(leaks=case.recorder.leaks) == {"I14"}


def test_the_longest_outage_is_from_the_first_try_to_the_first_answer() -> None:
    recorder = Recorder()
    times = [(0, 1, ""), (1, 3, "StoreUnavailable: away"), (3, 5, "StoreUnavailable: away"), (5, 6, ""), (6, 7, "")]
    for begun, ended, error in times:
        op = recorder.begin("append", "s", "w")
        op.begun, op.ended, op.error = begun, ended, error
        op.outcome = "unknown" if error else "ok"
    assert recorder.longest_outage() == 5


def test_a_history_is_kept_as_json_lines(case: Case, tmp_path: Path) -> None:
    case.recorder.write(tmp_path / "history.jsonl", seed=7, fault_test="R1")
    header, calls = read_history(tmp_path / "history.jsonl")
    assert header == {"seed": 7, "fault_test": "R1"}
    assert calls == case.recorder.history
