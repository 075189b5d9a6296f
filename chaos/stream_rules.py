"""The invariants I34 and I35: how replies grow for those who watch, and what is stored of them."""

from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

from chaos.case import Case, Violation
from chaos.feeds import ABORTED, APPENDED, COMMITTED, DELTA, GONE, STARTED, Feed, Part, feeds_of
from chaos.reply_text import is_part_of

ENDS = (COMMITTED, ABORTED)


def _each_reply_ends_once(case: Case) -> Iterator[Violation]:
    """I34: a reply begins once for each watcher, grows without a hole, and ends once, and nothing of it comes later."""
    for feed in feeds_of(case):
        for part in feed.parts:
            for text in _find_broken(part):
                yield Violation("I34", feed.session, f"{feed.watcher} {text}")
        left = _find_open(feed.parts[-1])
        if left and feed.session in case.snapshot.visible:
            yield Violation("I34", feed.session, f"{feed.watcher} was not told the end of the reply {left}")


class _Progress:
    """How far the replies of a part have come."""

    def __init__(self) -> None:
        self.growing = ""
        self.length = 0
        self.appended = ""
        self.ended: set[str] = set()

    def find_fault(self, kind: str, told: dict[str, Any]) -> str | None:
        """What is wrong with an event of a reply, after those before it."""
        reply = told["reply"]
        if reply in self.ended:
            return f"was told {kind} of the reply {reply}, which had ended"
        if kind == STARTED:
            return f"was told the start of the reply {reply} while {self.growing} grows" if self.growing else None
        if reply != self.growing:
            return f"was told {kind} of the reply {reply}, which had not begun"
        if kind == DELTA and told["offset"] != self.length:
            return f"was told text of the reply {reply} at {told['offset']}, and has {self.length} bytes"
        if kind == COMMITTED and self.appended != reply:
            return f"was told that the reply {reply} is complete, but not its message just before"
        return None

    def go_on(self, kind: str, told: dict[str, Any]) -> None:
        if kind == APPENDED:
            self.appended = told["id"]
        elif kind == STARTED:
            self.growing, self.length = told["reply"], 0
        elif kind == DELTA:
            self.length = told["offset"] + told["size"]
        elif kind in ENDS:
            self.ended.add(told["reply"])
            self.growing = ""


def _find_broken(part: Part) -> Iterator[str]:
    progress = _Progress()
    for event in part.events:
        kind = event.told["event"]
        fault = progress.find_fault(kind, event.told) if "reply" in event.told else None
        if fault is not None:
            yield fault
        progress.go_on(kind, event.told)


def _find_open(part: Part) -> str:
    """The reply that grows at the end of it."""
    growing = ""
    for event in part.events:
        if event.told["event"] == STARTED:
            growing = event.told["reply"]
        elif event.told["event"] in (*ENDS, *GONE):
            growing = ""
    return growing


def _what_was_told_is_stored(case: Case) -> Iterator[Violation]:
    """I35: the text that was told is the reply's, byte for byte; a committed one is stored with it, an aborted one not.

    Where a failover may have lost a reply, only what was told since then is compared with the store.
    """
    for feed in feeds_of(case):
        for part in feed.parts:
            for event in part.events:
                told = event.told
                if told["event"] == DELTA and not is_part_of(
                    feed.session, told["reply"], told["offset"], told["size"], told["checksum"]
                ):
                    text = f"{feed.watcher} was told other text at {told['offset']} of the reply {told['reply']}"
                    yield Violation("I35", feed.session, text)
        if not feed.has_ended:
            yield from _compare_with_store(case, feed)


def _compare_with_store(case: Case, feed: Feed) -> Iterator[Violation]:
    visible = case.snapshot.visible.get(feed.session)
    stored = {} if visible is None else {message.id: message.text for message in visible.messages}
    trimmed = visible is None or visible.count != len(visible.messages)
    length: dict[str, int] = {}
    for event in feed.parts[-1].events:
        told = event.told
        kind, reply = told["event"], told.get("reply", "")
        if kind == DELTA:
            length[reply] = told["offset"] + told["size"]
        elif kind == COMMITTED and not trimmed:
            size = len(stored[reply].encode()) if reply in stored else None
            if size != length.get(reply, 0):
                text = f"{feed.watcher} was told {length.get(reply, 0)} bytes of the reply {reply}, stored are {size}"
                yield Violation("I35", feed.session, text)
        elif kind == ABORTED and reply in stored:
            yield Violation("I35", feed.session, f"{feed.watcher} was told that {reply} is aborted, and it is stored")


def _stored_text_is_the_replys(case: Case) -> Iterator[Violation]:
    """I35: a reply that is stored has the text that its producer wrote."""
    for session, visible in case.snapshot.visible.items():
        for message in visible.messages:
            text = message.text.encode()
            if (session, message.id) in case.streamed and not is_part_of(
                session, message.id, 0, len(text), crc32(text)
            ):
                yield Violation("I35", session, f"the reply {message.id} is stored with another text")


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _each_reply_ends_once,
    _what_was_told_is_stored,
    _stored_text_is_the_replys,
)
