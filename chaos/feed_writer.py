"""A caller that writes what customers, tools and operators say, for those who watch."""

from typing import Any

from chaos.editor import INTERNAL
from chaos.history import text_of
from chaos.watcher import SECRET
from chaos.workload import Caller

KINDS = ("user", "user", "user", "tool", "operator")


class FeedWriter(Caller):
    """Its internal messages, and the names of its operators, are no customer's business."""

    def make_message(self, session: str) -> dict[str, Any]:
        message = super().make_message(session)
        kind = self.rng.choice(KINDS)
        if kind == "tool":
            message_id = message["id"] + INTERNAL
            message |= {"id": message_id, "text": text_of(session, message_id), "internal": True, "note": SECRET}
        if kind == "operator":
            message["author"] = SECRET
        return message | {"from": kind}
