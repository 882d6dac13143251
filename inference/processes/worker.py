"""The child process of a `WorkerPool`: reads one input after the other, works on it under limits, writes the result.

The function that it runs maps bytes to bytes and raises `Unusable` for an input that it does not accept. Imports the
standard library and the function's module, nothing else.

A request is its length (8 bytes, big-endian) and its bytes. A reply is one byte (`DONE`, `UNUSABLE`, `TOO_LARGE` or
`FAILED`), a length and bytes. The process ends at the end of its input, and with status 0 when it has been idle.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import struct
from collections.abc import Callable
from typing import BinaryIO

IDLE_S = 60.0
_PIECE = 2**20
LENGTH = struct.Struct(">Q")
DONE, UNUSABLE, TOO_LARGE, FAILED = b"+", b"-", b"m", b"!"


class Unusable(Exception):
    """The input cannot be used; the text says why, as a clause for a person."""


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Raises EOFError: if the stream ends before `size` bytes."""
    data = bytearray()
    while len(data) < size:
        piece = stream.read(min(size - len(data), _PIECE))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _serve(work: Callable[[bytes], bytes], requests: BinaryIO, replies: BinaryIO, cpu_s: float) -> None:
    while select.select([requests], [], [], IDLE_S)[0]:
        data = read_exactly(requests, *LENGTH.unpack(read_exactly(requests, LENGTH.size)))
        # SIGPROF's default action ends the process, also in the middle of a C function.
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        kind, reply = _tried(work, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(kind + LENGTH.pack(len(reply)) + reply)
        replies.flush()


def _tried(work: Callable[[bytes], bytes], data: bytes) -> tuple[bytes, bytes]:
    try:
        return DONE, work(data)
    except Unusable as error:
        return UNUSABLE, str(error).encode()
    except (MemoryError, RecursionError) as error:
        return TOO_LARGE, type(error).__name__.encode()
    except Exception as error:  # the parent logs it and tells the sender
        return FAILED, type(error).__name__.encode()


def _limit_memory(more_bytes: int) -> None:
    """Allow `more_bytes` of address space on top of what the process has now."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has such a limit
        import resource

        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, used + more_bytes))


def main(target: str, memory_bytes: str, cpu_s: str) -> None:
    """Serve standard input until it ends.

    Args:
        target: "module:function".
        memory_bytes: address space that one input may take.
        cpu_s: CPU seconds for one input.
    """
    for name in ("SIGINT", "SIGTERM"):  # the parent decides when a worker ends
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    # What a library prints must not become a reply.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        os.nice(5)  # answers and the event loop first
    module, _, name = target.partition(":")
    work: Callable[[bytes], bytes] = getattr(importlib.import_module(module), name)
    _limit_memory(int(memory_bytes))
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(work, os.fdopen(0, "rb", buffering=0), replies, float(cpu_s))
