"""The contract of the replies capability: the text of a reply grows, and at the end it is one message.

deltas     the store puts text at offsets: repeats, overlaps, holes, and deltas that come late
fences     a store takes no text from a worker whose turn is over
commits    what is stored when a block is left
growing    what is sent while a reply grows
ends       replies that end without their message
partials   what is kept of them with ``keep_partial``
refusals   arguments that are not acceptable
scene      what these tests share
"""

from chat_session.testing.replies.commits import CommitContract
from chat_session.testing.replies.deltas import DeltaContract
from chat_session.testing.replies.ends import ReplyEndContract
from chat_session.testing.replies.fences import FenceContract
from chat_session.testing.replies.growing import GrowingContract
from chat_session.testing.replies.partials import PartialContract
from chat_session.testing.replies.refusals import ReplyRefusalContract


class ReplyContract(
    DeltaContract,
    FenceContract,
    CommitContract,
    GrowingContract,
    ReplyEndContract,
    PartialContract,
    ReplyRefusalContract,
):
    """All tests of the capability."""
