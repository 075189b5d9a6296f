"""The contract of the turns capability: one worker at a time answers a session.

taking      who gets a turn, who has to wait for one, and who cannot have one
unanswered  the messages that a turn begins with
writing     replies through a turn, and what tools did
losing      a turn that is lost cancels its block
cancelling  a lost turn beside cancellations by others, timeouts and task groups
leases      a lease is renewed while the block runs, and ends with its worker
rounds      one round after the other, until nothing new has come
debounce    a round waits until the customer has finished
pending     the sessions that wait for a worker
finding     how sessions come to wait for a worker, and stop to
copies      turns of sessions that are exported, copied or restored
refusals    arguments that are not acceptable
scene       what these tests share
"""

from chat_session.testing.turns.cancelling import CancellingContract
from chat_session.testing.turns.copies import TurnCopyContract
from chat_session.testing.turns.debounce import DebounceContract
from chat_session.testing.turns.finding import FindingContract
from chat_session.testing.turns.leases import LeaseContract
from chat_session.testing.turns.losing import LosingContract
from chat_session.testing.turns.pending import PendingContract
from chat_session.testing.turns.refusals import TurnRefusalContract
from chat_session.testing.turns.rounds import RoundContract
from chat_session.testing.turns.taking import TakingContract
from chat_session.testing.turns.unanswered import UnansweredContract
from chat_session.testing.turns.writing import WritingContract


class TurnContract(
    TakingContract,
    UnansweredContract,
    WritingContract,
    LosingContract,
    CancellingContract,
    LeaseContract,
    RoundContract,
    DebounceContract,
    PendingContract,
    FindingContract,
    TurnCopyContract,
    TurnRefusalContract,
):
    """All tests of the capability."""
