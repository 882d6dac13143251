"""Log lines that nobody can forge: text of servers, files and people stays in the line in which it is quoted."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MARGIN = "    | "
"""Before each further line of an entry, such as a traceback's."""


def escaped(text: str) -> str:
    """The text with every character that is not printable in Python's notation ("\\\\n", "\\\\x1b", "\\\\u202e")."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\N{NO-BREAK SPACE}" else char.encode("unicode_escape").decode()
        for char in text
    )


class EscapingFormatter(logging.Formatter):
    """One line for each entry; a traceback follows in lines that begin with a margin, and so with no time."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        head, *further = super().format(record).split("\n")
        return "\n".join([head, *(_MARGIN + escaped(line) for line in further)])


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send every logger's entries to `stream` (standard error by default) through this formatter."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(EscapingFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
