"""What goes to a model: the newest messages that fit, with each tool call and its answers together.

The providers refuse a history in which an answer has no call, or something stands between a call and its answers.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from chat_session.message import Message

BYTES_PER_TOKEN = 4  # where a message does not say how many tokens it has


class Budget(Struct, frozen=True):
    """What a window may hold; None: any number."""

    messages: int | None
    tokens: int | None

    def is_spent_by(self, messages: int) -> bool:
        return self.messages is not None and messages >= self.messages


class Group(Struct):
    """Messages that stay together: a call with its answers, or a single message. In the order of the history."""

    messages: list[Message] = field(default_factory=list)
    open: set[str] = field(default_factory=set)  # calls that have no answer
    is_broken: bool = False  # an answer cannot be kept


class Window(Struct, frozen=True):
    """``is_full``: older messages would not change it. ``orphans``: answers whose calls are not among the messages."""

    messages: list[Message]
    is_full: bool
    orphans: list[Message]


def choose_window(messages: Sequence[Message], budget: Budget) -> Window:
    """Of the newest messages of a history, oldest first, those that go to a model.

    From the newest group to older ones, up to the first that does not fit. A group stands at the place of its call, so
    what others said between a call and its answers comes after them. A call that lacks an answer is left out, unless
    nothing but its answers follows it: then it is still in progress.

    Of messages that were read in part, the newest, the window is the same as of all, if it is full.
    """
    groups, orphans = _group(messages)
    chosen: list[Group] = []
    count, tokens = 0, 0
    for group in reversed(groups):
        if group.is_broken or (group.open and not _is_in_progress(group, messages)):
            continue
        count += len(group.messages)
        tokens += sum(map(count_tokens, group.messages))
        if (budget.messages is not None and count > budget.messages) or (
            budget.tokens is not None and tokens > budget.tokens
        ):
            return Window(_flatten(chosen), True, orphans)
        chosen.append(group)
    return Window(_flatten(chosen), budget.is_spent_by(count), orphans)


def count_tokens(message: Message) -> int:
    """As the message says; otherwise a quarter of its bytes: those of the content, or of the text."""
    if message.tokens is not None:
        return message.tokens
    content = message.content_json
    size = len(message.text.encode()) if content is None else len(content)
    return -(-size // BYTES_PER_TOKEN)


def _group(messages: Iterable[Message]) -> tuple[list[Group], list[Message]]:
    """The groups by the places of their first messages, and the answers whose calls are missing.

    A message that answers calls of several messages cannot stand directly behind each. It is left out with them, also
    if only some of the calls are there.
    """
    groups: list[Group] = []
    orphans: list[Message] = []
    waiting: dict[str, Group] = {}  # the calls that have no answer yet
    for message in messages:
        if not message.answers and not message.calls:  # as most are
            groups.append(Group([message]))
            continue
        called = {id(waiting[call]): waiting[call] for call in message.answers if call in waiting}
        is_orphan = any(call not in waiting for call in message.answers)
        if is_orphan or len(called) > 1:
            for group in called.values():
                group.is_broken = True
            if is_orphan:
                orphans.append(message)
            continue
        if called:
            [group] = called.values()
        else:
            group = Group()
            groups.append(group)
        for call in set(message.answers):
            waiting.pop(call).open.discard(call)
        group.messages.append(message)
        for call in message.calls:  # an id that is used again belongs to the later call
            waiting[call] = group
            group.open.add(call)
    return groups, orphans


def _is_in_progress(group: Group, messages: Sequence[Message]) -> bool:
    """Whether the history ends with this group."""
    newest = messages[-len(group.messages) :]
    return all(one is other for one, other in zip(group.messages, newest, strict=True))


def _flatten(chosen: Sequence[Group]) -> list[Message]:
    return [message for group in reversed(chosen) for message in group.messages]
