"""The contract of the desk capability: people take over from the AI.

requests    a session is put into the queue
claims      who is next, and that two operators never get the same session
takeovers   an operator takes a session, whatever its state is or only as expected
answers     answers, which take over, and notes
transfers   to another operator or into a team's queue; declining
hand_backs  the session returns to the AI
presence    signs of operators, and the automatic hand-back
lapses      operators who go away, and the sweeps that find them
lifetimes   a session does not expire while people depend on it
lists       the queue by page, and what operators have
figures     counts, waits and first responses
markers     what a step leaves in the transcript
epochs      late writes, records of tools, and switches that bypass the desk
refusals    sessions that are not there, and arguments that are not acceptable
restoring   sessions that are restored while people depend on them
scene       what these tests share
"""

from chat_session.testing.desk.answers import AnswerContract
from chat_session.testing.desk.claims import ClaimContract
from chat_session.testing.desk.epochs import EpochContract
from chat_session.testing.desk.figures import DeskFigureContract
from chat_session.testing.desk.hand_backs import HandBackContract
from chat_session.testing.desk.lapses import LapseContract
from chat_session.testing.desk.lifetimes import DeskLifetimeContract
from chat_session.testing.desk.lists import DeskListContract
from chat_session.testing.desk.markers import MarkerContract
from chat_session.testing.desk.presence import PresenceContract
from chat_session.testing.desk.refusals import DeskRefusalContract
from chat_session.testing.desk.requests import RequestContract
from chat_session.testing.desk.restoring import DeskRestoringContract
from chat_session.testing.desk.takeovers import TakeoverContract
from chat_session.testing.desk.transfers import TransferContract


class DeskContract(
    RequestContract,
    ClaimContract,
    TakeoverContract,
    AnswerContract,
    TransferContract,
    HandBackContract,
    PresenceContract,
    LapseContract,
    DeskLifetimeContract,
    DeskListContract,
    DeskFigureContract,
    MarkerContract,
    EpochContract,
    DeskRefusalContract,
    DeskRestoringContract,
):
    """All tests of the capability."""
