"""Every error reply of a server is recognised as the fault that it means."""

import pytest
from redis.asyncio.connection import DefaultParser
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, MaxConnectionsError

from chat_session.storage.redis.net.executor import RetryPolicy
from chat_session.storage.redis.net.faults import classify, explain

REPLIES = {
    "LOADING Redis is loading the dataset in memory": "loading",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "busy",
    "READONLY You can't write against a read only replica.": "read_only",
    "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write": "read_only",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": "read_only",
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0": "read_only",
    "OOM command not allowed when used memory > 'maxmemory'.": "full",
    "ERR Error running script (call to f_1): @user_script:3: -OOM command not allowed": "full",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": "disk",
    "MISCONF Errors writing to the AOF file: No space left on device": "disk",
    "NOREPLICAS Not enough good replicas to write.": "no_replicas",
    "CLUSTERDOWN The cluster is down": "cluster_down",
    "CLUSTERDOWN Hash slot not served": "cluster_down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "primary_down",
    "TRYAGAIN Multiple keys request during rehashing of slot": "migrating",
    "NOAUTH Authentication required.": "denied",
    "WRONGPASS invalid username-password pair or user is disabled.": "denied",
    "NOPERM this user has no permissions to run the 'evalsha' command": "denied",
    "ERR Error running script (call to f_1): The user executing the script can't run this command": "denied",
    "DENIED Redis is running in protected mode because protected mode is enabled": "denied",
    "ERR Protocol error: unauthenticated multibulk length": "denied",
    "ERR unknown command 'EVALSHA'": "refused",
    "ERR DB index is out of range": "refused",
    "ERR This instance has cluster support disabled": "refused",
    "CROSSSLOT Keys in request don't hash to the same slot": "moved",
    "MOVED 3999 127.0.0.1:6381": "moved",
    "ERR max number of clients reached": "connection",
}


@pytest.mark.parametrize(("reply", "reason"), REPLIES.items())
def test_a_reply_is_told_for_what_it_is(reply: str, reason: str) -> None:
    error = DefaultParser.parse_error(reply)  # type: ignore[no-untyped-call]
    assert classify(error).reason == reason


def test_a_pause_grows_and_ends_with_a_failover() -> None:
    policy = RetryPolicy(retries=100, delay=0.02, call_timeout=10)
    assert max(policy.pause(1) for _ in range(200)) <= 0.02
    assert max(policy.pause(4) for _ in range(200)) > 0.05
    assert max(policy.pause(60) for _ in range(200)) <= 1.0
    assert max(RetryPolicy(3, 1.0, 10).pause(9) for _ in range(200)) <= 2.0


def test_what_happens_below_a_reply_is_told_for_what_it_is() -> None:
    assert classify(InvalidResponse("Protocol Error: b'H'")).reason == "protocol"
    assert classify(MaxConnectionsError("Too many connections")).reason == "pool"
    assert classify(TimeoutError()).reason == "timeout"
    assert "TLS" in classify(TimeoutError(), connecting=True).advice
    assert classify(RedisConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")).reason == "tls"
    assert "rediss" in classify(RedisConnectionError("Connection closed by server.")).advice
    nameless = MasterNotFoundError(
        "No master found for 'chat' : <redis.asyncio.client.Redis(…)> - ConnectionError('…')"
    )
    assert "Sentinels" in classify(nameless).advice
    told = str(explain(classify(nameless), nameless, "here", 1, 0.1, outcome_unknown=False))
    assert told.startswith("here after 1 attempt in 0.1 s: No master found for 'chat'. Check that the Sentinels")
    assert classify(AttributeError("an error of the client's own")).retry
