"""A terminal as a channel of the delivery: an edit prints what has been added, nothing is taken back."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path

from adapters.delivery.channel import Frame, Limits, MessageGone, Rejected
from adapters.delivery.pacing.rate_budget import Rate
from adapters.delivery.renderers.terminal import TerminalStream, safe

LIMITS = Limits(message_units=4_000_000, upload_bytes=1 << 30, private_files=True, rate=Rate(1, 0.05, burst=4))
# While an answer grows, its chunk ends with the fence that closes an open block for now: that line is not the model's.
_CLOSING_FENCE = re.compile(r"\n[> ]*(`{3,}|~{3,})\s*\Z")
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class TerminalChannel:
    """Implements `adapters.delivery.channel.Channel` by printing.

    Args:
        write: prints a text as it is and flushes.
        colour: with ANSI styles.
        width: columns of the terminal.
        folder: where files are saved.
    """

    def __init__(self, write: Callable[[str], None], *, colour: bool, width: int, folder: Path = Path()) -> None:
        self._print = write
        self._colour = colour
        self._width = width
        self._folder = folder
        self._run = secrets.token_hex(4)
        self._numbers = count(1)
        self._sent: dict[str, str] = {}
        self._shown: dict[str, _Shown] = {}
        self._deleted: set[str] = set()

    @property
    def limits(self) -> Limits:
        return LIMITS

    def measure(self, frame: Frame) -> int:
        """Characters; a terminal has no limit worth the name."""
        return len(frame.markdown) + len(frame.status) + len(frame.failure) + len(frame.footer)

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        message_id = f"{self._run}-{next(self._numbers)}"
        self._sent[nonce] = message_id
        self._shown[message_id] = _Shown(TerminalStream(colour=self._colour, width=self._width))
        self._show(message_id, frame)
        return message_id

    def sending(self, reply_to: str | None, nonce: str) -> str | None:
        return None

    async def find(self, nonce: str) -> str | None:
        return self._sent.get(nonce)

    async def edit(self, message_id: str, frame: Frame) -> None:
        if message_id in self._deleted:
            raise MessageGone(message_id)
        if message_id not in self._shown:
            # An answer of an earlier run goes on: what it said then is shown above in the scrollback, if at all.
            self._shown[message_id] = _Shown(TerminalStream(colour=self._colour, width=self._width))
        self._show(message_id, frame)

    async def delete(self, message_id: str) -> None:
        """Nothing is added to it any more; what was printed stays."""
        self._deleted.add(message_id)
        self._shown.pop(message_id, None)

    async def typing(self) -> None:
        pass

    async def upload(self, name: str, data: bytes, *, reply_to: str | None, nonce: str, private: bool = False) -> str:
        """Saves the file and prints its path."""
        try:
            path = await asyncio.to_thread(save, self._folder, name, data)
        except OSError as error:
            raise Rejected(f"{name} cannot be saved: {error.strerror}") from error
        self._print_line(f"Saved as {path}")
        return self._sent.setdefault(nonce, f"{self._run}-{next(self._numbers)}")

    def _write(self, text: str) -> None:
        """Raises MessageGone: nobody reads the output any more, so the answer need not be written."""
        try:
            self._print(text)
        except BrokenPipeError as error:
            raise MessageGone("the output is closed") from error

    def _show(self, message_id: str, frame: Frame) -> None:
        shown = self._shown[message_id]
        if frame.status and frame.status != shown.status:
            self._print_line(frame.status)
        shown.status = frame.status
        self._show_thinking(shown, frame)
        self._write(shown.text(frame))
        if not frame.growing:
            self._write(shown.stream.finish())
            self._end(frame)
            del self._shown[message_id]

    def _show_thinking(self, shown: _Shown, frame: Frame) -> None:
        view = frame.thinking
        if view is None:
            return
        if view.done and not shown.thought_over and shown.is_begun:
            # What was printed as text was reasoning, and nothing is taken back.
            shown.thought_over = True
            self._write(f"{shown.stream.finish()}\n")
            shown.stream = TerminalStream(colour=self._colour, width=self._width)
            self._print_line(f"↑ {view.label}")
            self._write("\n")
            shown.begin_anew()
            return
        if len(view.text) > shown.thought and not shown.thought_over:
            self._write(self._dimmed(safe(view.text[shown.thought :])))
            shown.thought = len(view.text)
        if view.done and not shown.thought_over:
            shown.thought_over = True
            self._write("\n" if view.text else "")
            self._print_line(view.label)
            self._write("\n")

    def _end(self, frame: Frame) -> None:
        self._write("\n")
        for line in (frame.failure, frame.footer):
            if line:
                self._print_line(line)
        self._write("" if frame.notice else "\n")

    def _print_line(self, text: str) -> None:
        self._write(f"{self._dimmed(safe(text))}\n")

    def _dimmed(self, text: str) -> str:
        return f"{_DIM}{text}{_PLAIN}" if self._colour else text


def save(folder: Path, name: str, data: bytes) -> Path:
    """Writes a new file for its owner alone, under another number where the name is taken; returns its path. Blocks.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    plain = Path(name)
    for number in count(1):
        path = folder / (plain.name if number == 1 else f"{plain.stem}-{number}{plain.suffix}")
        try:
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            continue
        path.write_bytes(data)
        return path
    raise AssertionError("numbers do not end")


class _Shown:
    """What of one message is printed already."""

    def __init__(self, stream: TerminalStream) -> None:
        self.stream = stream
        self.status = ""
        self.thought = 0
        self.thought_over = False
        self._printed = ""

    @property
    def is_begun(self) -> bool:
        """Whether some of its text is printed."""
        return bool(self._printed)

    def begin_anew(self) -> None:
        self._printed = ""

    def text(self, frame: Frame) -> str:
        """What is to be printed for this frame."""
        text = _CLOSING_FENCE.sub("", frame.markdown) if frame.growing else frame.markdown
        if text.startswith(self._printed):
            added, begin = text[len(self._printed) :], ""
        else:
            added, begin = text, "\n"
        self._printed = text
        return begin + self.stream.feed(added) if added else ""
