"""What others wrote cannot look like a line of the log, or steer the terminal that shows it."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from adapters.process.log_format import EscapingFormatter, escaped

FORGED = "503\n2026-11-30 12:00:00,000 ERROR adapters.app: the database is gone\x1b[2J\r\u2028\u202e"


def logged(message: str, error: Exception | None = None) -> list[str]:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(EscapingFormatter())
    logger = logging.Logger("a")
    logger.addHandler(handler)
    logger.error("the server says: %s", message, exc_info=error)
    return out.getvalue().rstrip("\n").split("\n")


def test_a_servers_words_stay_in_their_line() -> None:
    (line,) = logged(FORGED)
    assert line.isprintable()
    assert r"503\n2026-11-30" in line
    assert r"\x1b[2J\r\u2028\u202e" in line


def test_a_traceback_stands_behind_a_margin() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        head, *further = logged("hello", error)
    assert head.endswith("the server says: hello")
    assert any("Traceback" in line for line in further)
    assert all(line.startswith("    | ") and line.isprintable() for line in further)


@given(st.text())
def test_nothing_that_cannot_be_printed_is_left(text: str) -> None:
    shown = escaped(text).replace("\N{NO-BREAK SPACE}", " ")
    assert shown.isprintable()
    assert not shown or len(shown.splitlines()) == 1


def test_the_program_logs_this_way() -> None:
    code = "from adapters.cli import _log; _log('info'); import logging; logging.warning('one\\n%s', 'tw\\x1bo')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\S+ \S+ WARNING root: one\\ntw\\x1bo\n", done.stderr)
