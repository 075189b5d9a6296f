"""Sessions for chat applications: who is talking, what was said, who answers now, and for how long.

Start with ``SessionManager``. For synchronous code there is ``chat_session.blocking``.
"""

from chat_session import blocking as blocking
from chat_session.cleanup import SessionCleanup as SessionCleanup
from chat_session.desk import Desk as Desk
from chat_session.desk_results import DeskEntry as DeskEntry
from chat_session.desk_results import DeskFigures as DeskFigures
from chat_session.desk_results import DeskPage as DeskPage
from chat_session.desk_results import DeskStats as DeskStats
from chat_session.desk_results import Operator as Operator
from chat_session.desk_results import Ticket as Ticket
from chat_session.desk_status import DeskStatus as DeskStatus
from chat_session.errors import AgentConflict as AgentConflict
from chat_session.errors import CapabilityMissing as CapabilityMissing
from chat_session.errors import ChatSessionError as ChatSessionError
from chat_session.errors import Conflict as Conflict
from chat_session.errors import DeskConflict as DeskConflict
from chat_session.errors import InvalidInput as InvalidInput
from chat_session.errors import ManagerClosed as ManagerClosed
from chat_session.errors import MessageConflict as MessageConflict
from chat_session.errors import MessageNotFound as MessageNotFound
from chat_session.errors import MessageTooLarge as MessageTooLarge
from chat_session.errors import MetadataConflict as MetadataConflict
from chat_session.errors import NoEventLoop as NoEventLoop
from chat_session.errors import OperatorFull as OperatorFull
from chat_session.errors import SequenceConflict as SequenceConflict
from chat_session.errors import SessionExists as SessionExists
from chat_session.errors import SessionNotFound as SessionNotFound
from chat_session.errors import SettingsError as SettingsError
from chat_session.errors import StoreCorrupt as StoreCorrupt
from chat_session.errors import StoreDenied as StoreDenied
from chat_session.errors import StoreError as StoreError
from chat_session.errors import StoreFull as StoreFull
from chat_session.errors import StoreIncompatible as StoreIncompatible
from chat_session.errors import StoreReadOnly as StoreReadOnly
from chat_session.errors import StoreUnavailable as StoreUnavailable
from chat_session.errors import TurnBusy as TurnBusy
from chat_session.errors import TurnLost as TurnLost
from chat_session.errors import UsageError as UsageError
from chat_session.errors import UsedAfterFork as UsedAfterFork
from chat_session.errors import WrongEventLoop as WrongEventLoop
from chat_session.inspector import Inspector as Inspector
from chat_session.manager import SessionManager as SessionManager
from chat_session.message import Message as Message
from chat_session.message import Sender as Sender
from chat_session.replies import Reply as Reply
from chat_session.results import AppendResult as AppendResult
from chat_session.results import CleanupResult as CleanupResult
from chat_session.results import CleanupStatus as CleanupStatus
from chat_session.results import DeleteResult as DeleteResult
from chat_session.results import ErasureResult as ErasureResult
from chat_session.results import Result as Result
from chat_session.results import RetractResult as RetractResult
from chat_session.results import SessionPage as SessionPage
from chat_session.results import SwitchResult as SwitchResult
from chat_session.session import Agent as Agent
from chat_session.session import Session as Session
from chat_session.settings import Settings as Settings
from chat_session.telemetry.hooks import Hooks as Hooks
from chat_session.turns import Turn as Turn

__version__ = "2.0.0.dev0"
