"""Watches all logging while a fault test runs: no log may show the text of a message, no exception be lost."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.history import MARK, Recorder

_OWN = ("chat_session", "redis", "asyncio")


class _LogWatch(logging.Handler):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(logging.DEBUG)
        self._recorder = recorder
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        shown = f"{record.getMessage()} {record.__dict__}"
        if record.exc_info:
            shown += self._formatter.formatException(record.exc_info)
        if MARK in shown:
            self._recorder.leaks.append(f"{record.name}: {record.msg}"[:200])
        if record.name == "asyncio" and record.levelno >= logging.ERROR:
            self._recorder.unhandled.append(shown[:2000])
        if getattr(record, "action", "") == "hook_failed":
            self._recorder.unhandled.append(shown[:2000])


@contextmanager
def watch_logs(recorder: Recorder) -> Iterator[None]:
    """Watch the package, redis-py and asyncio at level DEBUG. Other handlers get nothing in the meantime."""
    handler = _LogWatch(recorder)
    before = []
    for name in _OWN:
        logger = logging.getLogger(name)
        before.append((logger, logger.level, logger.propagate))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
