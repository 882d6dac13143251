"""`partyline chat` at a terminal: what keys do, and what is pasted."""

from __future__ import annotations

import os
import pty
import re
import readline
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import script

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif("libedit" in (readline.__doc__ or ""), reason="this Python has another line editor"),
]
_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
PASTE = "\x1b[200~{}\x1b[201~"
"""What a terminal sends of a pasted text, where the program has asked for that."""


class Terminal:
    """A person in front of it."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._shown = ""

    def types(self, keys: str) -> None:
        """Beside what is read: each side of a terminal holds a few kilobytes."""
        threading.Thread(target=os.write, args=(self._end, keys.encode()), daemon=True).start()

    def reads(self, words: str) -> str:
        """Everything new until these words are there."""
        while words not in self._shown:
            self._shown += os.read(self._end, 65536).decode(errors="replace")
        seen, _, self._shown = self._shown.partition(words)
        return _ANSI.sub("", seen + words).replace("\r", "")


@contextmanager
def chatting(folder: Path, *lines: dict[str, Any]) -> Iterator[tuple[Terminal, subprocess.Popen[bytes], int]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    environ |= {"PARTYLINE_MODEL": f"scripted:{script(folder, *lines)}", "PARTYLINE_CAPTIONER": "", "TERM": "xterm"}
    end, theirs = pty.openpty()
    command = [sys.executable, "-c", "from adapters.cli import main; main()", "chat"]
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    try:
        terminal = Terminal(end)
        terminal.reads("Partyline is ready")
        terminal.reads("> ")  # once more, where it was there before
        yield terminal, process, theirs
    finally:
        process.kill()
        process.wait()
        os.close(end)
        os.close(theirs)


def test_a_pasted_text_is_one_message(tmp_path: Path) -> None:
    line = {"match": r"Explain:\ndef f\(x\):\n    return x$", "answer": "All of it."}
    with chatting(tmp_path, line) as (terminal, _, _):
        terminal.types(PASTE.format("Explain:\ndef f(x):\n    return x") + "\r")
        assert "All of it." in terminal.reads(" token")
        terminal.reads("> ")
        terminal.types("next\r")
        assert "next" in terminal.reads(" token")


def test_a_line_can_be_edited_and_is_as_long_as_it_is(tmp_path: Path) -> None:
    with chatting(tmp_path) as (terminal, _, _):
        terminal.types("hllo\x1b[D\x1b[D\x1b[De\r")
        assert "hello\n" in terminal.reads(" token")
        terminal.reads("> ")
        terminal.types("\x1b[A, again\r")
        assert "hello, again\n" in terminal.reads(" token")
        terminal.reads("> ")
        terminal.types("word " * 1200 + "end\r")
        assert "end\n" in terminal.reads(" token"), "a terminal by itself takes 4,095 bytes"


def test_an_interrupt_keeps_what_is_typed_and_the_end_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with chatting(tmp_path) as (terminal, process, theirs):
        terminal.types("half a")
        terminal.reads("half a")
        process.send_signal(2)
        assert terminal.reads("half a").startswith("\nCtrl-D ends the program.\n")
        terminal.types(" line\r")
        assert "half a line\n" in terminal.reads(" token")
        terminal.reads("> ")
        terminal.types("\x04")
        assert process.wait() == 0
        assert termios.tcgetattr(theirs)[3] & termios.ECHO


def test_a_picture_that_is_not_there_is_not_asked_about(tmp_path: Path) -> None:
    with chatting(tmp_path) as (terminal, _, _):
        terminal.types("@holiday.png what is this?\r")
        assert "There is no file" in terminal.reads("holiday.png`")
