"""The contract of the feed capability: what happens in a session is told, complete and in order.

watching   what a watcher is told while it watches
resuming   a feed that goes on behind a cursor
growing    a reply that grows
customers  what a watcher without ``include_internal`` is not told
desk       what a watcher of the desk is told
refusals   arguments that are not acceptable
scene      what these tests share
"""

from chat_session.testing.feed.customers import CustomerFeedContract
from chat_session.testing.feed.desk import DeskFeedContract
from chat_session.testing.feed.growing import GrowingReplyContract
from chat_session.testing.feed.refusals import FeedRefusalContract
from chat_session.testing.feed.resuming import ResumingContract
from chat_session.testing.feed.watching import WatchingContract


class FeedContract(
    WatchingContract,
    ResumingContract,
    GrowingReplyContract,
    CustomerFeedContract,
    DeskFeedContract,
    FeedRefusalContract,
):
    """All tests of the capability."""
