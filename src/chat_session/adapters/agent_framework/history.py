"""The history provider of the Agent Framework on a SessionManager."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from agent_framework import HistoryProvider
from agent_framework import Message as NativeMessage

from chat_session import SessionManager
from chat_session.adapters.agent_framework.messages import FORMAT, says_the_same, to_message, to_native, with_own_id
from chat_session.adapters.finishing import finish
from chat_session.adapters.history import Epoch, History, epoch_of
from chat_session.adapters.pairing import is_of
from chat_session.adapters.session_ids import make_session_id, original_id
from chat_session.errors import MessageConflict
from chat_session.message import Message

if TYPE_CHECKING:
    from agent_framework import AgentSession, SessionContext, SupportsAgentRun

EPOCH = "chat_session_epoch"  # in the provider's state: the epoch of the last read,
RUN_EPOCH = "chat_session_run_epoch"  # and that of the read with which the last run began
_REMEMBERED = 10_000  # sessions whose epoch is known where the framework gives no state


class ManagedHistoryProvider(HistoryProvider):
    """A history that many processes may use at once, that people can read, and that a person can take over.

    Saving reads nothing. It carries the epoch at which the run read the history; after a switch of the agent it raises
    AgentConflict, and nothing of it is stored; the error carries the messages.
    """

    DEFAULT_SOURCE_ID: ClassVar[str] = "managed_history"

    def __init__(
        self,
        manager: SessionManager,
        source_id: str = DEFAULT_SOURCE_ID,
        *,
        user_id: str | Callable[[str], str] | None = None,
        epoch: Epoch = None,
        max_history: int | None = None,
        key_prefix: str | None = None,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
        skip_excluded: bool = False,
    ) -> None:
        """``source_id`` and all from ``load_messages`` on: as in the framework's own providers.

        ``user_id``: whose session it becomes when it is created, or a function that tells it by the session id; else
        the session id stands there. ``epoch``: a number pins it, False lets a run write after a takeover, too.
        ``max_history``: how many messages a session keeps that is created here. ``key_prefix`` stands before the
        session id, for a second provider on the same manager.
        """
        super().__init__(
            source_id,
            load_messages=load_messages,
            store_inputs=store_inputs,
            store_context_messages=store_context_messages,
            store_context_from=store_context_from,
            store_outputs=store_outputs,
        )
        self.skip_excluded = skip_excluded
        self._manager = manager
        self._user_id = user_id
        self._epoch = epoch
        self._max_history = max_history
        self._key_prefix = key_prefix
        self._epochs: OrderedDict[str, int] = OrderedDict()

    async def before_run(
        self,
        *,
        agent: "SupportsAgentRun",
        session: "AgentSession",
        context: "SessionContext",
        state: dict[str, Any],
    ) -> None:
        """Load the history. The epoch is kept with this run: another one may share the state.

        Where each call of the model is stored by itself, it is called for each. One that begins with the results of
        tools is not the first of its run, so the epoch stays.
        """
        await super().before_run(agent=agent, session=session, context=context, state=state)
        is_next_call = bool(context.input_messages) and context.input_messages[-1].role == "tool"
        if not is_next_call or RUN_EPOCH not in state:
            state[RUN_EPOCH] = state.get(EPOCH)
        context.metadata[self._epoch_key] = state[RUN_EPOCH]

    async def after_run(
        self,
        *,
        agent: "SupportsAgentRun",
        session: "AgentSession",
        context: "SessionContext",
        state: dict[str, Any],
    ) -> None:
        """Store what the settings say. Raises AgentConflict."""
        of_run = {**state, EPOCH: context.metadata.get(self._epoch_key)}
        await super().after_run(agent=agent, session=session, context=context, state=of_run)

    async def get_messages(
        self,
        session_id: str | None,
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[NativeMessage]:
        """All messages that the session keeps, oldest first. One round trip."""
        history = self._history(session_id)
        session, stored = await history.read(is_of(FORMAT))
        self._remember(history.session_id, epoch_of(session), state)
        messages = [native for message in stored if (native := to_native(message)) is not None]
        if self.skip_excluded:
            messages = [each for each in messages if not each.additional_properties.get("_excluded", False)]
        return messages

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[NativeMessage],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Append all or none, in one step, which also creates the session. One round trip.

        A message whose ``message_id`` and contents are stored already is not stored again. Raises AgentConflict,
        MessageTooLarge; TypeError for what JSON cannot hold.
        """
        if messages:
            max_text_bytes = self._manager.settings.max_message_bytes
            sent = _without_repeats([to_message(each, max_text_bytes) for each in messages])
            await finish(self._append(self._history(session_id), sent, state))

    async def clear(self, session_id: str | None) -> None:
        """Remove the session with its messages, also while a person answers; gone already is no error."""
        await self._manager.delete_session(self._history(session_id).session_id)

    @property
    def _epoch_key(self) -> str:
        return f"{self.source_id}.{EPOCH}"

    def _history(self, session_id: str | None) -> History:
        own_id = session_id or "default"
        parts = (own_id,) if self._key_prefix is None else (self._key_prefix, own_id)
        return History(
            self._manager,
            make_session_id(*parts),
            self._user_id(own_id) if callable(self._user_id) else self._user_id,
            epoch=self._epoch,
            max_history=self._max_history,
            metadata=original_id(*parts),
        )

    def _remember(self, session_id: str, epoch: int, state: dict[str, Any] | None) -> None:
        if state is not None:
            state[EPOCH] = epoch
            return
        self._epochs[session_id] = epoch
        self._epochs.move_to_end(session_id)
        if len(self._epochs) > _REMEMBERED:
            self._epochs.popitem(last=False)

    async def _append(self, history: History, messages: list[Message], state: dict[str, Any] | None) -> None:
        read_epoch = self._epochs.get(history.session_id) if state is None else state.get(EPOCH)
        fence = history.fence(read_epoch)
        try:
            await history.append(messages, epoch=fence)
        except MessageConflict:  # an id is stored with something else: only now the history is read
            _, stored = await history.read_stored()
            if fresh := _without_stored(messages, {message.id: message for message in stored}):
                await history.append(fresh, epoch=fence)


def _without_repeats(messages: Sequence[Message]) -> list[Message]:
    """Of the messages of one batch that have the same id, those that say something new, each with an id of its own."""
    kept: dict[str | None, Message] = {}
    distinct: list[Message] = []
    for message in messages:
        chosen = message
        if message.id is not None and message.id in kept:
            if says_the_same(message, kept[message.id]):
                continue
            chosen = with_own_id(message)
            if chosen.id in kept:
                continue
        kept[chosen.id] = chosen
        distinct.append(chosen)
    return distinct


def _without_stored(messages: Sequence[Message], stored: dict[str | None, Message]) -> list[Message]:
    """Those that are not stored; one whose id is stored with something else gets another id."""
    fresh: list[Message] = []
    for message in messages:
        known = stored.get(message.id)
        if known is None:
            fresh.append(message)
        elif not says_the_same(message, known) and (renamed := with_own_id(message)).id not in stored:
            fresh.append(renamed)
    return fresh
