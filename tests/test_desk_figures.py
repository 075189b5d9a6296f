"""What the desk counts, and the percentiles that it tells from its histograms."""

import math
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_session.clock import to_us
from chat_session.desk_figures import BOUNDS, BUCKET, DAY, HOUR, bucket_of, counts_of, figures_of, oldest_bucket
from chat_session.desk_status import NEVER_HANDLED, DeskFacts
from chat_session.handoff import Decide, Read, answer, assign, hand_back, request

START = to_us(datetime(2026, 1, 31, tzinfo=UTC))
SECOND = 1_000_000  # microseconds
waits = st.lists(st.integers(0, 30 * DAY * SECOND), min_size=1, max_size=60)


def counts(decide: Decide, facts: DeskFacts, now: int, created: int = 0) -> list[tuple[int, str]]:
    """What this step counts, if the session is as ``facts`` says."""
    read = Read("s", facts, 0, now)
    change = decide(read)
    return [] if change is None else counts_of(read, change, created)


TAKE = assign("anna", "claimed", lambda _: True)
WAITING = DeskFacts(stamp=START, state="waiting", since=START, waiting_since=START, asked=True)


@given(waits, st.sampled_from([HOUR, DAY]))
def test_a_percentile_lies_in_the_bucket_of_the_exact_one(waits: list[int], seconds: int) -> None:
    now = START + 40 * DAY * SECOND
    total = Counter[tuple[int, str]]()
    for wait in waits:
        since = now - wait
        total.update(counts(TAKE, msgspec.structs.replace(WAITING, stamp=since, since=since, waiting_since=since), now))
    figures = figures_of(total, now, seconds)
    for found, part in ((figures.wait_median, 0.5), (figures.wait_p95, 0.95)):
        exact = sorted(waits)[math.ceil(part * len(waits)) - 1] / SECOND
        i = bisect_left(BOUNDS, exact)
        assert found is not None
        assert (BOUNDS[i - 1] if i else 0) <= found <= BOUNDS[min(i, len(BOUNDS) - 1)]
    assert figures.wait_median is not None
    assert figures.wait_p95 is not None
    assert figures.wait_median <= figures.wait_p95
    assert figures.takeovers == {"claimed": len(waits)}
    assert figures.first_response_median is None


def test_the_bounds_of_the_histogram_grow() -> None:
    assert sorted(set(BOUNDS)) == list(BOUNDS)
    assert all(later <= 2 * earlier for earlier, later in pairwise(BOUNDS[:-1])), "so a figure is off by half at most"


@given(st.integers(0, 2 * DAY), st.integers(0, BUCKET * SECOND - 1))
def test_what_is_older_than_the_period_is_not_counted(age: int, within: int) -> None:
    now = START + 10 * DAY * SECOND + within
    then = now - age * SECOND
    total = Counter(counts(request(reason=None, priority=0, team=None, say=None, hold_ai=True), NEVER_HANDLED, then))
    for seconds in (HOUR, DAY):
        requests = figures_of(total, now, seconds).requests
        if age <= seconds - BUCKET:
            assert requests == 1
        if age >= seconds:
            assert requests == 0
    assert (bucket_of(then) >= oldest_bucket(now)) == (figures_of(total, now, DAY).requests == 1)


def test_a_first_response_is_counted_once_and_only_if_a_person_was_asked_for() -> None:
    later = START + 90 * SECOND
    write = answer("anna", polite=False)
    asked = msgspec.structs.replace(WAITING, state="assigned", operator="anna")
    names = [name for _, name in counts(write, asked, later)]
    assert names == [f"response:{bisect_left(BOUNDS, 90)}"]
    assert counts(write, msgspec.structs.replace(asked, answered=START), later) == []
    assert counts(write, msgspec.structs.replace(asked, asked=False), later) == []
    waited = [name for _, name in counts(write, WAITING, later)]
    assert sorted(waited) == ["response:11", "takeovers:answered", "wait:11"]


@pytest.mark.parametrize(("age", "is_counted"), [(0, True), (DAY - BUCKET, True), (DAY, False), (30 * DAY, False)])
def test_a_session_is_handled_once_and_in_the_bucket_of_its_creation(age: int, is_counted: bool) -> None:
    created = START - age * SECOND
    handled = [(bucket_of(created), "handled")] if is_counted else []
    first = request(reason=None, priority=0, team=None, say=None, hold_ai=True)
    assert counts(first, NEVER_HANDLED, START, created) == [(bucket_of(START), "requests"), *handled]
    assert (bucket_of(created), "handled") not in counts(TAKE, WAITING, START, created)
    assert counts(hand_back("anna", note=None, say=None, resolved=False), NEVER_HANDLED, START, created) == []
