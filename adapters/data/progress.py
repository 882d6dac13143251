"""A progress bar in a terminal; a few plain lines where the output goes into a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Tick = Callable[[float], None]
"""Takes the share that is done, 0.0 to 1.0."""

_WIDTH = 30
_LINES = 4


class Bar:
    """One line that fills up."""

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._stream = stream
        self._moves = stream.isatty()
        self._shown = -1

    def __call__(self, share: float) -> None:
        """Shows this much; never less than before."""
        steps = 100 if self._moves else _LINES
        step = int(min(1.0, max(0.0, share)) * steps)
        if step <= self._shown:
            return
        self._shown = step
        done = step / steps
        filled = round(done * _WIDTH)
        line = f"{self._title} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done:4.0%}"
        if self._moves:
            columns = shutil.get_terminal_size().columns
            self._stream.write(f"\r{line[: columns - 1]}" + ("\n" if step == steps else ""))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def abandon(self) -> None:
        """The work failed: the next line begins at the left."""
        if self._moves and 0 <= self._shown < 100:
            self._stream.write("\n")


@contextmanager
def progress(title: str, stream: TextIO | None = None) -> Iterator[Tick]:
    """A bar from 0 to 100 %, on stderr; it is full only when the block ends well."""
    bar = Bar(title, stream or sys.stderr)
    bar(0.0)
    try:
        yield lambda share: bar(min(share, 0.99))
    except BaseException:
        bar.abandon()
        raise
    bar(1.0)
