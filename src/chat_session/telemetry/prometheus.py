"""What happens, as Prometheus metrics. Needs ``pip install chat-session[metrics]``.

A manager with them: ``SessionManager(hooks=[PrometheusHooks()])``. docs/metrics.md lists the names.
"""

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from chat_session.errors import AgentConflict, DeskConflict, OperatorFull, TurnLost
from chat_session.message import Sender
from chat_session.telemetry.hooks import Hooks

_REFUSALS = frozenset((AgentConflict.code, DeskConflict.code, OperatorFull.code, TurnLost.code))
# They may end in a refusal, but they store no message.
_NO_WRITES = frozenset(("check_epoch", "take_turn", "renew_turn", "release_turn", "begin_reply", "write_reply"))
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class PrometheusHooks(Hooks):
    """One set of metrics in ``registry``; make it once a process and share it between managers."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"chat_session_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"chat_session_{name}", text, registry=registry)

        self._operations = Histogram(
            "chat_session_operation_seconds",
            "Calls to the store by name and outcome, with their duration in seconds",
            ("operation", "outcome"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._messages = counter("messages", "Messages stored, by sender", "sender")
        self._changed = counter("changed_messages", "Stored messages retracted, replaced or cleared", "change")
        self._refused = counter("refused_writes", "Writes refused because of who has the session", "reason")
        self._handoffs = counter("handoffs", "Steps of the desk that this process made, by event", "event")
        self._waiting = gauge("desk_waiting", "Sessions that wait for a person when they were last counted")
        self._assigned = gauge("desk_assigned", "Sessions that operators have when they were last counted")
        self._turns = counter("turns", "Turns that workers began, lost, or found busy, by outcome", "outcome")
        self._lost_turns = counter("lost_turns", "Turns that workers lost, by reason", "reason")
        self._watchers = gauge("watchers", "Feeds that are open in this process")
        self._delay = Histogram(
            "chat_session_delivery_delay_seconds",
            "From a message's timestamp to its delivery to a watcher, in seconds",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._gaps = counter("feed_gaps", "Gaps that watchers were told of")
        self._resets = counter("feed_resets", "Feeds that began again, by reason", "reason")

        self._replies = counter("replies", "Streaming replies that ended, by outcome", "outcome")
        self._growing = gauge("replies_growing", "Streaming replies that grow in this process")
        self._groups_cut = counter("groups_cut", "Windows whose newest message answers a call that was trimmed")
        self._retries = counter("retries", "Commands sent again after a fault", "operation", "reason")
        self._queue_full = counter("queue_full", "Calls that waited for room in the queue to a server", "server")
        self._damaged = counter("damaged_messages", "Unreadable messages met while reading")
        self._active = gauge("active_sessions", "Living sessions when they were last counted")
        self._up = gauge("store_up", "1 if the store answered the last call, 0 if it did not")
        self._up.set(float("nan"))  # nobody has asked yet
        self._runs = counter("cleanup_runs", "Cleanup runs by outcome", "outcome")
        self._removed = counter("cleanup_removed", "Dead sessions removed by cleanup")

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:  # noqa: ARG002
        self._operations.labels(name, outcome).observe(seconds)
        if outcome in _REFUSALS and name not in _NO_WRITES:
            self._refused.labels(outcome).inc()

    def appended(self, session_id: str, senders: Sequence[Sender]) -> None:  # noqa: ARG002
        for sender, count in Tally(senders).items():
            self._messages.labels(sender).inc(count)

    def changed(self, session_id: str, change: str, count: int) -> None:  # noqa: ARG002
        self._changed.labels(change).inc(count)

    def handed(self, session_id: str, event: str) -> None:  # noqa: ARG002
        if event != "raised":  # a higher priority hands nothing over
            self._handoffs.labels(event).inc()

    def desk_counted(self, waiting: int, assigned: int) -> None:
        self._waiting.set(waiting)
        self._assigned.set(assigned)

    def turn_begun(self, session_id: str) -> None:  # noqa: ARG002
        self._turns.labels("begun").inc()

    def turn_busy(self, session_id: str) -> None:  # noqa: ARG002
        self._turns.labels("busy").inc()

    def turn_lost(self, session_id: str, reason: str) -> None:  # noqa: ARG002
        self._turns.labels("lost").inc()
        self._lost_turns.labels(reason).inc()

    def watch_begun(self, session_id: str) -> None:  # noqa: ARG002
        self._watchers.inc()

    def watch_ended(self, session_id: str) -> None:  # noqa: ARG002
        self._watchers.dec()

    def delivered(self, session_id: str, delay: float) -> None:  # noqa: ARG002
        self._delay.observe(delay)

    def feed_gap(self, session_id: str, count: int) -> None:  # noqa: ARG002
        self._gaps.inc()

    def feed_reset(self, session_id: str, reason: str) -> None:  # noqa: ARG002
        self._resets.labels(reason).inc()

    def reply_begun(self, session_id: str) -> None:  # noqa: ARG002
        self._growing.inc()

    def reply_ended(self, session_id: str, outcome: str) -> None:  # noqa: ARG002
        self._growing.dec()
        self._replies.labels(outcome).inc()

    def group_cut(self, session_id: str) -> None:  # noqa: ARG002
        self._groups_cut.inc()

    def retried(self, name: str, attempt: int, reason: str) -> None:  # noqa: ARG002
        self._retries.labels(name, reason).inc()

    def queue_full(self, address: str) -> None:
        self._queue_full.labels(address).inc()

    def damaged(self, session_id: str, count: int) -> None:  # noqa: ARG002
        self._damaged.inc(count)

    def store_up(self, up: bool) -> None:
        self._up.set(up)

    def counted(self, active: int) -> None:
        self._active.set(active)

    def cleaned(self, removed: int, seconds: float, outcome: str) -> None:  # noqa: ARG002
        self._runs.labels(outcome).inc()
        self._removed.inc(removed)
