"""The token stays out of the logs: it is part of every address, and libraries like to log addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HIDDEN = "***"
_CHATTY = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "telegram": logging.INFO}
"""What these log below that level are addresses, and what people write."""


class _Redaction(logging.Filter):
    def __init__(self, token: str) -> None:
        super().__init__()
        self._secret = token.partition(":")[2] or token

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(TypeError, ValueError):  # arguments that do not fit are the handler's to complain about
            message = record.getMessage()
            if self._secret in message:
                record.msg, record.args = message.replace(self._secret, _HIDDEN), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text and self._secret in record.exc_text:
            record.exc_text = record.exc_text.replace(self._secret, _HIDDEN)
        return True


@contextmanager
def redacted(token: str) -> Iterator[None]:
    """While the context is open, no handler of the root logger sees the token."""
    for name, level in _CHATTY.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(level, logger.level))
    redaction = _Redaction(token)
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(redaction)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(redaction)
