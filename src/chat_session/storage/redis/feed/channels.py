"""Who listens to what."""

from chat_session.storage.contract import Wake


class Channel:
    """A channel that somebody listens to; in all about 600 bytes. ``keys``: of its session; none for the desk.

    ``mark``: what the last poll found; None before the first. ``is_live``: its notifications arrive, or are known not
    to be allowed.
    """

    __slots__ = ("is_live", "keys", "mark", "wakes")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        self.wakes: list[Wake] = []
        self.mark: bytes | None = None
        self.is_live = False

    def wake(self, news: bytes | None = None) -> None:
        for wake in tuple(self.wakes):  # one of them may leave
            wake(news)


Channels = dict[bytes, Channel]
