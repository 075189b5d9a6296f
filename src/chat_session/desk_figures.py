"""What the desk counts: in buckets of five minutes, with histograms of how long customers waited."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

from chat_session.desk_results import DeskFigures
from chat_session.handoff import Change, Read

BUCKET = 300  # seconds
HOUR, DAY = 3600, 86_400
TAKEOVERS = ("claimed", "taken_over", "answered")

# The upper bounds of the histograms' buckets, in seconds; the last has none.
BOUNDS = (
    *(1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1200, 1800, 2700, 3600),
    *(5400, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800),
)

Counts = Mapping[tuple[int, str], int]
"""By bucket and name. A bucket is the number of its five minutes since 2025."""


def bucket_of(us: int) -> int:
    return us // (BUCKET * 1_000_000)


def oldest_bucket(now: int) -> int:
    """Of those that are still shown."""
    return bucket_of(now) - DAY // BUCKET + 1


def counts_of(read: Read, change: Change, created: int) -> list[tuple[int, str]]:
    """What a step adds one to. ``created``: when the session was, in microseconds since 2025."""
    before, after, now = read.facts, change.facts, bucket_of(read.now)
    found: list[tuple[int, str]] = []
    if change.event == "requested":
        found.append((now, "requests"))
    if change.event in TAKEOVERS:
        found.append((now, f"takeovers:{change.event}"))
        if before.state == "waiting" and before.waiting_since is not None:
            found.append((now, f"wait:{_find_bound(read.now - before.waiting_since)}"))
    if change.event == "handed_back":
        found.append((now, "hand_backs"))
    if after.answered != before.answered and before.answered is None and after.asked:
        found.append((now, f"response:{_find_bound(read.now - (after.waiting_since or read.now))}"))
    if before.stamp == 0 and change.event is not None and bucket_of(created) >= oldest_bucket(read.now):
        found.append((bucket_of(created), "handled"))
    return found


def _find_bound(us: int) -> int:
    return bisect_left(BOUNDS, us / 1_000_000)


def figures_of(counts: Counts, now: int, seconds: int) -> DeskFigures:
    """Over the last ``seconds``: of the bucket that began that long ago nothing is counted."""
    first = bucket_of(now) - seconds // BUCKET + 1
    total = Counter[str]()
    for (bucket, name), count in counts.items():
        if bucket >= first:
            total[name] += count
    waits, responses = _histogram(total, "wait:"), _histogram(total, "response:")
    return DeskFigures(
        requests=total["requests"],
        takeovers={name: total[f"takeovers:{name}"] for name in TAKEOVERS if total[f"takeovers:{name}"]},
        hand_backs=total["hand_backs"],
        lapses=total["lapses"],
        sessions_created=total["created"],
        sessions_handled=total["handled"],
        wait_median=_percentile(waits, 0.5),
        wait_p95=_percentile(waits, 0.95),
        first_response_median=_percentile(responses, 0.5),
        first_response_p95=_percentile(responses, 0.95),
    )


def _histogram(total: Mapping[str, int], name: str) -> list[int]:
    return [total.get(f"{name}{i}", 0) for i in range(len(BOUNDS) + 1)]


def _percentile(histogram: Iterable[int], part: float) -> float | None:
    """In seconds, as if the values of a bucket were spread evenly over it. None if there are none."""
    found = list(histogram)
    left = part * sum(found)
    if not left:
        return None
    for i, count in enumerate(found):
        if count and left <= count:
            low = BOUNDS[i - 1] if i else 0
            high = BOUNDS[min(i, len(BOUNDS) - 1)]
            return round(low + (high - low) * left / count, 1)
        left -= count
    return float(BOUNDS[-1])
