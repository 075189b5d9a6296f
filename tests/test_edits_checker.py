"""The rules of edited histories must detect every promise that is broken, and accept what is allowed."""

from collections.abc import Sequence

import pytest

from chaos.case import Allowances
from chaos.checker import check
from chaos.history import Operation, Recorder, text_of
from chaos.snapshot import Snapshot, StoredSession, VisibleMessage, VisibleSession

DEADLINE = 2_000_000


class Case:
    """A session "s" with four messages, of which "w-4" was popped. Nothing is wrong until a test changes it."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.create = self.op("create", user="u", ttl=3600)
        self.appends = [self.op("append", id=f"w-{seq}", seq=seq) for seq in range(1, 5)]
        self.pop = self.op("pop", limit=1, count=1, ids=["w-4"], seqs=[4])
        self.visible = VisibleSession("u", 4, 0, "ai", revision=1)
        self.show(1, 2, 3)
        parts: dict[str, int | None] = dict.fromkeys(("meta", "agent", "history", "ids"), DEADLINE)
        self.stored = StoredSession(parts, "u", 3600, 4, 4, "ai", "ai", {f"w-{seq}": seq for seq in range(1, 5)})
        self.snapshot = Snapshot({"s": self.visible}, {"u": {"s"}}, {"s"}, 1, {"s": self.stored}, now=1_000_000.0)
        self.snapshot.due["s", "u"] = DEADLINE
        self.snapshot.by_user["s", "u"] = 900_000_000

    def op(self, kind: str, outcome: str = "ok", **facts: object) -> Operation:
        op = self.recorder.begin(kind, "s", "w", **facts)
        op.outcome, op.ended = outcome, self.recorder.moment()
        return op

    def show(self, *seqs: int) -> None:
        """What a caller sees at the end."""
        self.visible.messages[:] = [VisibleMessage(seq, f"w-{seq}", text_of("s", f"w-{seq}")) for seq in seqs]

    def look(self, *seqs: int, limit: int = 20) -> Operation:
        return self.op("look", limit=limit, count=len(seqs), ids=[f"w-{seq}" for seq in seqs], seqs=list(seqs))

    def store(self, *seqs: int) -> None:
        """Which positions are there at the end, and how many were given out."""
        self.stored.ids = {f"w-{seq}": seq for seq in seqs}
        self.stored.length = len(seqs)
        self.visible.count = self.stored.count = max(seqs, default=self.visible.count)
        if not seqs:
            del self.stored.deadlines["history"], self.stored.deadlines["ids"]

    def broken(self, allowances: Allowances | None = None) -> set[str]:
        return {v.invariant for v in check(self.recorder.history, self.snapshot, allowances).violations}


@pytest.fixture
def case() -> Case:
    return Case()


def test_an_edited_history_without_a_flaw_breaks_nothing(case: Case) -> None:
    case.look(1, 2, 3)
    case.op("retract", "unknown", ids=["w-1"])
    case.op("clear", "unknown")
    assert case.broken() == set()


def test_a_message_that_is_shown_after_it_was_popped_is_seen(case: Case) -> None:
    look = case.look(1, 2, 3, 4)
    assert case.broken() == {"I17"}
    look.begun = case.pop.begun  # both calls overlapped
    assert case.broken() == set()


@pytest.mark.parametrize("kind", ["pop", "retract"])
def test_a_message_that_is_there_at_the_end_after_it_was_taken_is_seen(case: Case, kind: str) -> None:
    case.op(kind, limit=1, count=1, ids=["w-3"], seqs=[3] if kind == "pop" else [])
    case.visible.revision = 2
    assert "I17" in case.broken()
    case.show(1, 2)
    assert case.broken() == set()


def test_two_pops_that_return_one_message_are_seen(case: Case) -> None:
    again = case.op("pop", limit=1, count=1, ids=["w-4"], seqs=[4])
    again.begun = case.pop.begun
    case.visible.revision = 2
    assert case.broken() == {"I17"}


def test_two_messages_that_are_gone_for_one_pop_are_seen(case: Case) -> None:
    case.show(1, 2)
    assert case.broken() == {"I18"}
    case.op("pop", "unknown", limit=1)
    assert case.broken() == set()


def test_a_pop_that_passes_over_the_newest_message_is_seen(case: Case) -> None:
    case.op("pop", limit=1, count=1, ids=["w-2"], seqs=[2])
    case.show(1, 3)
    case.visible.revision = 2
    assert case.broken() == {"I18"}


def test_a_message_that_was_never_sent_or_had_failed_is_seen(case: Case) -> None:
    case.appends[2].outcome = "failed"
    assert case.broken() == {"I2", "I17", "I18"}
    case.recorder.history.remove(case.appends[2])
    assert "I17" in case.broken()


def test_a_clear_takes_what_came_before_it_and_nothing_after(case: Case) -> None:
    case.op("clear", count=3)
    case.visible.revision = 2
    case.op("append", id="w-5", seq=5)
    case.store(5)
    case.show(5)
    assert case.broken() == set()
    case.show()
    assert "I18" in case.broken()
    case.show(3, 5)
    assert "I17" in case.broken()


def test_a_clear_that_counts_other_than_what_it_took_is_seen(case: Case) -> None:
    clear = case.op("clear", count=3)
    case.visible.revision = 2
    case.show()
    case.store()
    assert case.broken() == set()
    for clear.count in (1, 4):
        assert case.broken() == {"I18"}


@pytest.mark.parametrize("revision", [0, 2])
def test_a_revision_that_does_not_count_each_edit_once_is_seen(case: Case, revision: int) -> None:
    case.visible.revision = revision
    assert case.broken() == {"I18"}


def test_a_retraction_of_unknown_outcome_may_count_or_not(case: Case) -> None:
    case.op("retract", "unknown", ids=["w-1"])
    for case.visible.revision in (1, 2):
        assert case.broken() == set()


def test_a_seq_that_changes_or_is_given_twice_is_seen(case: Case) -> None:
    look = case.look(1, 2, 3)
    look.seqs = [1, 2, 7]
    assert case.broken() == {"I19"}
    look.ids, look.seqs = ["w-1", "w-2", "w-3"], [1, 2, 4]
    assert case.broken() == {"I19"}


def test_a_seq_that_a_clear_begins_again_is_seen(case: Case) -> None:
    case.op("clear", count=3)
    case.op("append", id="x-1", seq=1)
    case.visible.revision, case.visible.count, case.stored.count = 2, 1, 1
    case.stored.ids, case.stored.length = {"x-1": 1}, 1
    case.visible.messages[:] = [VisibleMessage(1, "x-1", text_of("s", "x-1"))]
    assert "I19" in case.broken()


def test_a_conditional_append_behind_another_message_is_seen(case: Case) -> None:
    append = case.op("append", id="w-5", seq=5, expect=4)
    case.store(1, 2, 3, 4, 5)
    case.show(1, 2, 3, 5)
    assert case.broken() == set()
    append.expect = 3
    assert case.broken() == {"I19"}


def replaced(case: Case, old: str | None, new: str) -> Operation:
    case.visible.revision += 1
    return case.op("replace", ids=["w-3"], seqs=[3], count=1, old=old, new=new, versions={"w-3": new})


def test_a_version_other_than_the_last_is_seen(case: Case) -> None:
    replaced(case, None, "a")
    assert case.broken() == {"I19"}
    case.visible.messages[-1].text = text_of("s", "w-3", "a")
    assert case.broken() == set()
    replaced(case, "a", "b")
    assert case.broken() == {"I19"}


def test_two_replacements_that_expect_one_version_are_seen(case: Case) -> None:
    replaced(case, "", "a")
    replaced(case, "", "b")
    case.visible.messages[-1].text = text_of("s", "w-3", "b")
    assert case.broken() == {"I19"}


def test_two_rewrites_that_expect_one_revision_are_seen(case: Case) -> None:
    for seq in (5, 6):
        case.op("rewrite", ids=[f"w-{seq}"], seqs=[seq], count=1, expect=1)
    case.visible.revision = 3
    case.store(6)
    case.show(6)
    assert case.broken() == {"I19"}


def test_an_edit_after_the_epoch_that_it_names_is_seen(case: Case) -> None:
    case.op("switch", epoch=1, agent="ai")
    case.visible.epoch = 1
    pop = case.op("pop", limit=1, count=1, ids=["w-3"], seqs=[3], epoch=1)
    case.show(1, 2)
    case.visible.revision = 2
    assert case.broken() == set()
    pop.epoch = 0
    assert case.broken() == {"I11"}


def test_a_refusal_without_a_ground_is_seen(case: Case) -> None:
    refused = case.op("replace", "failed", ids=["w-3"], new="a", old="")
    refused.error = "MessageNotFound: …"
    assert case.broken() == {"I12"}
    refused.error = "MessageConflict: …"
    assert case.broken() == {"I12"}
    refused.ids = ["w-4"]  # it was popped
    refused.error = "MessageNotFound: …"
    assert case.broken() == set()


@pytest.mark.parametrize(
    ("number", "outcomes", "broken"),
    [
        (3, ("ok", "ok"), set()),
        (2, ("ok", "ok"), {"I20"}),
        (5, ("ok", "ok"), {"I20"}),
        (1, ("ok", "unknown"), set()),
        (3, ("ok", "unknown"), set()),
        (5, ("ok", "unknown"), {"I20"}),
    ],
)
def test_a_counter_has_each_increment_once(case: Case, number: int, outcomes: Sequence[str], broken: set[str]) -> None:
    case.op("increment", outcomes[0], new="hits", by=1, count=1)
    case.op("increment", outcomes[1], new="hits", by=2, count=3)
    case.visible.metadata = {"hits": number}
    assert case.broken() == broken


def test_a_number_that_two_increments_are_given_is_seen(case: Case) -> None:
    first, second = (case.op("increment", new="hits", by=1, count=1) for _ in range(2))
    second.begun = first.begun
    case.visible.metadata = {"hits": 2}
    assert case.broken() == {"I20"}


def test_an_assigned_session_is_in_the_list_of_its_last_user_only(case: Case) -> None:
    case.op("assign", user="v")
    for names in (case.snapshot.due, case.snapshot.by_user):
        names["s", "v"] = names.pop(("s", "u"))
    case.stored.user = case.visible.user = "v"
    case.snapshot.listed = {"u": set(), "v": {"s"}}
    case.op("list", user="v", ids=["s"], count=1)
    case.op("list", user="u", ids=[], count=0)
    assert case.broken() == set()
    case.recorder.history[-1].ids = ["s"]
    assert case.broken() == {"I8"}
    case.recorder.history.pop()
    case.recorder.history[-1].ids = []
    assert case.broken() == {"I8"}
    case.recorder.history.pop()
    case.snapshot.listed["u"] = {"s"}
    assert case.broken() == {"I8"}


def test_where_writes_may_be_lost_edits_are_not_judged(case: Case) -> None:
    case.show(1)
    case.visible.revision = 9
    assert case.broken(Allowances(lossy=True)) == set()
