"""The lines that somebody types in a terminal, or that a program writes to standard input."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PASTES = "set enable-bracketed-paste on"
_NO_MARKS = "\x1b[?2004l"
"""The terminal puts no marks around what is pasted any more."""


class Keyboard:
    """Reads lines in a thread: the only way to wait for a keyboard everywhere.

    In a terminal they can be edited: arrow keys, what was written before, and a pasted text is one line, with all of
    its own. Without that the terminal would cut a line after 4,095 bytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._editor = _editor()
        self._waits = False

    async def line(self, prompt: str) -> str | None:
        """Return the next line, or None at the end of input."""
        threading.Thread(target=self._read, args=(prompt,), daemon=True).start()
        self._waits = True
        line = await self._lines.get()
        self._waits = False
        return line

    @property
    def is_read(self) -> bool:
        """Whether somebody sees a prompt in a terminal."""
        return self._waits and sys.stdin.isatty()

    @property
    def begun(self) -> str:
        """What stands behind the prompt so far, as far as that is known."""
        return str(self._editor.get_line_buffer()) if self._editor is not None else ""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Leaves the terminal as it was: a line may be under way when the program ends."""
        if self._editor is None:
            yield
            return
        import termios

        before = termios.tcgetattr(sys.stdin)
        try:
            yield
        finally:
            with suppress(OSError, termios.error):  # the terminal itself may be gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
                print(_NO_MARKS, end="", flush=True)

    def _read(self, prompt: str) -> None:
        text: str | None = None
        try:
            text = input(prompt)
        except EOFError:
            pass
        finally:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, text)


def _editor() -> Any:
    """The module by which `input` lets people edit a line; None where there is none, or no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        import readline
    except ImportError:
        return None
    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind(_PASTES)  # Python turns them off, because its own prompt reads one statement
    return readline
