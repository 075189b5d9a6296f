"""What went wrong between us and the server, told apart: one table from redis-py's errors to ours.

The kind is known by the class where redis-py has one, and else by the word in the reply: BUSY, MISCONF
and NOREPLICAS arrive as plain ResponseError, and 6.2 wraps what happens inside a script as
"Error running script … -OOM …".
"""

import builtins
import re
from typing import NamedTuple

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's own
    InvalidResponse,
    MasterDownError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 - redis-py's own
    TryAgainError,
)

from chat_session.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)


class NoReply(Exception):  # it never leaves this package
    """A command got no reply. ``sent``: it may have been executed all the same."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.sent = sent


class TooFewReplicas(Exception):  # it never leaves this package
    """A write is on the primary, and fewer replicas than asked for have confirmed it."""


class ProtocolDesync(Exception):  # it never leaves this package
    """The replies of a connection do not fit the calls they answer."""


class Fault(NamedTuple):
    """A kind of fault: what it becomes, whether sending again may help, what to do about it."""

    reason: str
    error: type[StoreError]
    retry: bool
    advice: str


_AWAY = Fault(
    "connection",
    StoreUnavailable,
    True,
    "Start the server, check its address, or use sqlite:///file.db, which needs no server.",
)
_CLOSED = Fault(
    "connection", StoreUnavailable, True, "Check that the server runs, and use rediss:// if its port expects TLS."
)
_NAMELESS = Fault(
    "connection", StoreUnavailable, True, "Check that the Sentinels run, and that they know this service."
)
_SLOW = Fault(
    "timeout",
    StoreUnavailable,
    True,
    "Check whether the server is overloaded or cannot be reached, or raise STORE_TIMEOUT.",
)
_SILENT = Fault(
    "timeout", StoreUnavailable, True, "Check whether the server can be reached, and whether its port expects TLS."
)
_POOL = Fault("pool", StoreUnavailable, True, "Give the client a larger max_connections.")
_UNCONFIRMED = Fault(
    "replicas",
    StoreUnavailable,
    True,
    "The primary has the write. Check that its replicas follow, or lower REDIS_WAIT_REPLICAS.",
)
_DENIED = Fault(
    "denied",
    StoreDenied,
    False,
    "Check the user and the password (in the URL, or REDIS_USERNAME and REDIS_PASSWORD), and the user's ACL rules.",
)
_TLS = Fault(
    "tls", StoreIncompatible, False, "Check that the port expects TLS, and check the CA and client certificates."
)
_DESYNC = Fault(
    "protocol",
    StoreUnavailable,
    True,
    "Something between this process and the server loses or adds replies. Check proxies and load balancers.",
)
_FOREIGN = Fault("protocol", StoreIncompatible, False, "Check the port. What answers there is not Redis or Valkey.")
_REFUSED = Fault("refused", StoreIncompatible, False, "Use Redis 6.2 or later, or Valkey, with scripting allowed.")

_DATABASE = Fault(
    "refused",
    StoreIncompatible,
    False,
    "Use a database number that the server has. Its setting 'databases' says how many there are.",
)

_ALONE = Fault("refused", StoreIncompatible, False, "This server is not part of a cluster. Connect with redis://.")
_ELSEWHERE = Fault(
    "moved", StoreIncompatible, False, "This server is a node of a cluster. Connect with redis+cluster://."
)
_UNCOVERED = Fault(
    "cluster_down",
    StoreUnavailable,
    True,
    "No primary serves the hash slot of the key. Check the cluster with CLUSTER INFO.",
)

_BY_WORD = {
    "LOADING": Fault(
        "loading", StoreUnavailable, True, "The server is reading its data from disk. Wait until it is done."
    ),
    "BUSY": Fault(
        "busy",
        StoreUnavailable,
        True,
        "A script of another program has been running for too long on the server. SCRIPT KILL ends it.",
    ),
    "CLUSTERDOWN": Fault(
        "cluster_down", StoreUnavailable, True, "Some hash slots have no primary. Check the cluster with CLUSTER INFO."
    ),
    "MASTERDOWN": Fault(
        "primary_down",
        StoreUnavailable,
        True,
        "This replica has lost its primary. Wait for the failover, or connect to the new primary.",
    ),
    "TRYAGAIN": Fault("migrating", StoreUnavailable, True, "The hash slot is being moved to another node. Try again."),
    "NOREPLICAS": Fault(
        "no_replicas",
        StoreUnavailable,
        True,
        "Fewer replicas follow the primary than its min-replicas-to-write demands. Start them again.",
    ),
    "READONLY": Fault(
        "read_only", StoreReadOnly, True, "This server is a replica. Connect to the primary, or through Sentinel."
    ),
    "OOM": Fault(
        "full", StoreFull, False, "Raise maxmemory, or run a cleanup and delete sessions that are not needed."
    ),
    "MISCONF": Fault(
        "disk", StoreFull, False, "The server cannot save to disk and therefore refuses writes. Its log says why."
    ),
    "TRYLATER": Fault("try_later", StoreUnavailable, True, "Try again in a minute."),  # a script's own
    "NOPERM": _DENIED,
    "NOAUTH": _DENIED,
    "DENIED": _DENIED,
}
_BY_CLASS: tuple[tuple[type[Exception], Fault], ...] = (  # redis-py takes the word off the text of some
    (BusyLoadingError, _BY_WORD["LOADING"]),
    (ReadOnlyError, _BY_WORD["READONLY"]),
    (OutOfMemoryError, _BY_WORD["OOM"]),
    (TryAgainError, _BY_WORD["TRYAGAIN"]),
    (MasterDownError, _BY_WORD["MASTERDOWN"]),
    (ClusterDownError, _BY_WORD["CLUSTERDOWN"]),
    (NoPermissionError, _DENIED),
    (AuthenticationError, _DENIED),
    (AuthorizationError, _DENIED),
    (InvalidResponse, _FOREIGN),
    (MaxConnectionsError, _POOL),
    (MasterNotFoundError, _NAMELESS),
    (TooFewReplicas, _UNCONFIRMED),
    (ProtocolDesync, _DESYNC),
    (SlotNotCoveredError, _UNCOVERED),
    (AskError, _ELSEWHERE),  # and MovedError, which is one
    (ClusterCrossSlotError, _ELSEWHERE),
)
_BY_TEXT = (
    ("DB index", _DATABASE),
    ("cluster support disabled", _ALONE),
    ("WAIT cannot be used with replica", _BY_WORD["READONLY"]),  # a primary that was replaced after it took the write
    ("UNBLOCKED", _BY_WORD["READONLY"]),  # the same while it waited for its replicas
)
_DENIALS = ("can't run this command", "unauthenticated")  # without a word: 6.2 inside a script, 7.0 before AUTH
_WORD = re.compile(r"\b(" + "|".join(_BY_WORD) + r")\b")


def classify(error: Exception, *, connecting: bool = False) -> Fault:
    """Tell what kind of fault an error of redis-py, or of anything below it, is.

    ``connecting``: nothing had been sent yet. A port without TLS does not answer a TLS handshake.
    """
    if type(error) is builtins.TimeoutError:  # ours and asyncio's; it may be that of thousands at once
        return _SILENT if connecting else _SLOW
    for kind, fault in _BY_CLASS:
        if isinstance(error, kind):
            return fault
    text = str(error)
    if any(denial in text for denial in _DENIALS):
        return _DENIED
    if found := _WORD.search(text):
        return _BY_WORD[found[1]]
    if isinstance(error, ResponseError):
        special = (fault for words, fault in _BY_TEXT if words in text)
        return next(special, _REFUSED)
    return _below_replies(error, text, connecting=connecting)


def _below_replies(error: Exception, text: str, *, connecting: bool) -> Fault:
    if "SSL" in text or "certificate" in text:
        return _TLS
    if isinstance(error, (TimeoutError, OSError)) and not isinstance(error, ConnectionError):
        return _SILENT if connecting else _SLOW
    return _CLOSED if "closed" in text.lower() else _AWAY


def is_wrong_type(error: Exception) -> bool:
    """A key holds another type than its name promises."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def explain(
    fault: Fault, cause: Exception, where: str, attempts: int, elapsed: float, *, outcome_unknown: bool
) -> StoreError:
    """The error to raise after ``attempts``: what happened, what was tried, what to do."""
    happened = str(cause).partition(" : <redis.")[0][:300] or type(cause).__name__  # Sentinel's go on in a repr
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''} in {elapsed:.1f} s"
    text = f"{where} after {tried}: {happened.rstrip('.')}. {fault.advice}"
    if fault.error is StoreUnavailable:
        return StoreUnavailable(text, outcome_unknown=outcome_unknown, attempts=attempts, elapsed=elapsed)
    return fault.error(text, outcome_unknown=outcome_unknown)
