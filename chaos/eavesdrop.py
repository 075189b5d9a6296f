"""Listens to all logging while a proof runs: no text of a message may show, no error go unheard."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.recorder import MARK, Recorder

_OWN = ("chat_session", "redis", "asyncio")


class _Ear(logging.Handler):
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
            self._recorder.unheard.append(shown[:2000])
        if getattr(record, "action", "") == "hook_failed":
            self._recorder.unheard.append(shown[:2000])


@contextmanager
def listen(recorder: Recorder) -> Iterator[None]:
    """Hear the package, redis-py and asyncio down to DEBUG; nothing goes on to other handlers meanwhile."""
    ear = _Ear(recorder)
    before = []
    for name in _OWN:
        logger = logging.getLogger(name)
        before.append((logger, logger.level, logger.propagate))
        logger.addHandler(ear)
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(ear)
            logger.setLevel(level)
            logger.propagate = propagate
