"""Output that nobody reads any more (`partyline ask --json | head -1`) ends a command quietly."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

CLOSED_PIPE = 128 + signal.SIGPIPE
"""141, what a shell reports of a program that SIGPIPE ended."""


def until_closed(command: Callable[[], int]) -> int:
    """Runs the command and writes out what it has said; returns its exit code, or CLOSED_PIPE if nobody reads it.

    SIGPIPE keeps its handler: it would also end the program for a connection that was closed.
    """
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except BrokenPipeError:
        _forget_output()
        return CLOSED_PIPE


def is_closed_pipe(group: BaseExceptionGroup[BaseException]) -> bool:
    """Whether a write to a closed pipe is what ended a task group."""
    return group.subgroup(BrokenPipeError) is not None


def _forget_output() -> None:
    """What is left in the buffers must not fail once more when the interpreter ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nothing, stream.fileno())
    os.close(nothing)
