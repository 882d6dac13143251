"""Runs a function on untrusted input in child processes that may be killed: one input costs at most its limits.

`concurrent.futures` cannot end one task of a process pool, so a child here is a plain `subprocess`
(`inference.processes.worker`) with pipes. Only bytes cross them: a decoder that was taken over cannot send the parent
an object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Literal

from inference.processes import worker
from inference.processes.worker import LENGTH, Unusable, read_exactly

log = logging.getLogger(__name__)

_START = "import sys; from inference.processes.worker import main; main(*sys.argv[1:])"
_PASSED_ON = {"PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT"}


class Overrun(Exception):
    """The input took more than its limits, or broke its worker: it must not be tried again with the same limits."""

    def __init__(self, why: Literal["time", "memory", "broken", "closed"]) -> None:
        super().__init__(why)
        self.why = why


class WorkerPool:
    """Up to `workers` child processes, started when they are first needed, that call one function.

    A pool may be used from several event loops. A child holds no socket, file or secret of its parent, and ends when
    its parent has ended.

    Args:
        target: "module:function"; the function maps bytes to bytes and may raise `inference.processes.worker.Unusable`.
        workers: inputs worked on at the same time.
        cpu_s: CPU seconds for one input; the child that exceeds it is ended and replaced.
        wall_s: seconds for one input by the clock, the start of a child included.
        memory_bytes: address space that one input may take.
        reply_bytes: the longest result.
    """

    def __init__(
        self,
        target: str,
        *,
        workers: int = 1,
        cpu_s: float = 2.0,
        wall_s: float = 30.0,
        memory_bytes: int = 2**30,
        reply_bytes: int = 16 * 2**20,
    ) -> None:
        self._target = target
        self.limit(cpu_s=cpu_s, memory_bytes=memory_bytes)
        self._wall_s = wall_s
        self._reply_bytes = reply_bytes
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"worker-{target.rpartition(':')[2]}")
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def limit(self, *, cpu_s: float, memory_bytes: int) -> None:
        """Change the limits, for children that are started from now on."""
        self._command = [sys.executable, "-c", _START, self._target, str(memory_bytes), str(cpu_s)]

    async def call(self, data: bytes) -> bytes:
        """Return the function's result for `data`.

        Raises:
            Unusable: if the function does not accept the input.
            Overrun: if the input exceeded a limit or ended its worker, or the pool is closed.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, data)
        except RuntimeError as error:  # the threads are gone
            raise Overrun("closed") from error

    async def close(self) -> None:
        """End the children; what they work on fails with Overrun."""
        with self._lock:
            self._closed = True
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.kill()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for child in children:
            await asyncio.to_thread(reap, child)

    def pids(self) -> list[int]:
        """The children that run now."""
        with self._lock:
            return [child.pid for child in (*self._idle, *self._busy)]

    def _call(self, data: bytes) -> bytes:
        while True:
            child, fresh = self._taken()
            deadline = threading.Timer(self._wall_s, child.kill)
            deadline.start()
            try:
                kind, reply = self._asked(child, data)
                break
            except (OSError, EOFError) as error:
                child.kill()
                reap(child)
                # An idle child ends itself, and may do so while it is being asked.
                if fresh or child.returncode != 0:
                    raise Overrun(self._why(child)) from error
            finally:
                deadline.cancel()
                with self._lock:
                    self._busy.discard(child)
        self._put_back(child)
        match kind:
            case worker.DONE:
                return reply
            case worker.UNUSABLE:
                raise Unusable(reply.decode())
            case worker.TOO_LARGE:
                raise Overrun("memory")
        log.warning("%s failed: %s", self._target, reply[:100])
        raise Overrun("broken")

    def _asked(self, child: subprocess.Popen[bytes], data: bytes) -> tuple[bytes, bytes]:
        requests, replies = _pipes(child)
        requests.write(LENGTH.pack(len(data)))
        requests.write(data)
        requests.flush()
        kind = read_exactly(replies, 1)
        (size,) = LENGTH.unpack(read_exactly(replies, LENGTH.size))
        if size > self._reply_bytes:
            child.kill()
            reap(child)
            raise Overrun("memory")
        return kind, read_exactly(replies, size)

    def _taken(self) -> tuple[subprocess.Popen[bytes], bool]:
        """A child that runs, and whether it was started now; one that has ended in between is replaced."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.poll() is None:
                    self._busy.add(child)
                    return child, False
                reap(child)
        child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the parent's
        )
        with self._lock:
            closed = self._closed
            self._busy.add(child)
        if closed:
            child.kill()
        return child, True

    def _put_back(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                return
        child.kill()
        reap(child)

    def _why(self, child: subprocess.Popen[bytes]) -> Literal["time", "broken", "closed"]:
        if self._closed:
            return "closed"
        if child.returncode in (-signal.SIGPROF, -signal.SIGKILL):
            return "time"
        log.warning("a worker of %s ended with %s", self._target, child.returncode)
        return "broken"


class TieredPool:
    """Works on every input within a small time first, and what needs more waits behind its like, not before others.

    Args:
        target: as `WorkerPool`'s.
        workers: of the first tier; the second one has one.
        quick_s: CPU seconds of the first tier.
        cpu_s: CPU seconds of the second tier.
    """

    def __init__(self, target: str, *, workers: int, quick_s: float, cpu_s: float, memory_bytes: int) -> None:
        self.quick = WorkerPool(target, workers=workers, cpu_s=quick_s, memory_bytes=memory_bytes)
        self.patient = WorkerPool(target, cpu_s=cpu_s, memory_bytes=memory_bytes)

    async def call(self, data: bytes) -> bytes:
        """As `WorkerPool.call`."""
        try:
            return await self.quick.call(data)
        except Overrun as error:
            if error.why != "time":
                raise
        return await self.patient.call(data)

    async def close(self) -> None:
        await self.quick.close()
        await self.patient.close()


def _pipes(child: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
    if child.stdin is None or child.stdout is None:
        raise OSError("a worker without pipes")
    return child.stdin, child.stdout  # type: ignore[return-value]


def reap(child: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a child that was killed or has ended, and close its pipes."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not written is of no use now
                pipe.close()
    child.wait()


def _environment() -> dict[str, str]:
    """What finds the same packages, and no secret."""
    kept = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(("LC_", "LD_"))}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    # Each thread's arena would take 64 MiB of the address space.
    return kept | {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
