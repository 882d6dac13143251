"""A column for any Python text, whatever is in it.

PostgreSQL refuses NUL, SQLite's tools stop at it, and neither encodes a lone surrogate; platforms and models send both.
So those are written as U+0010 (data link escape) and four hexadecimal digits, U+0010 itself too. Everything else is
stored as it is, readable in any tool. The mapping is one to one, so equality and keys work on stored text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from sqlalchemy import Dialect, Text, TypeDecorator

_MARK = "\x10"
_UNSTORABLE = re.compile("[\x00\x10\ud800-\udfff]")
_WRITTEN = re.compile("\x10([0-9a-f]{4})")


def encode(text: str) -> str:
    """The text without NUL and surrogates; `decode` gives back exactly what it was."""
    return _UNSTORABLE.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", text)


def decode(stored: str) -> str:
    """The inverse of `encode`."""
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), stored) if _MARK in stored else stored


class AnyText(TypeDecorator[str]):
    """TEXT that takes every `str` and gives it back unchanged."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else encode(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], str | None]:
        # For each value of hundreds of rows one call, and not the three that a decorated type makes.
        return _decoded


def _decoded(stored: str | None) -> str | None:
    return stored if stored is None or _MARK not in stored else decode(stored)


class Texts(TypeDecorator[tuple[str, ...]]):
    """A few texts in one column, as JSON (ASCII, so any text survives); "" is none."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str:
        return json.dumps(list(value)) if value else ""

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        return tuple(json.loads(value)) if value else ()
