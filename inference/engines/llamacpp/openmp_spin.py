"""How long llama.cpp's threads spin at barriers: docs/decisions/003-spinning.md has the why and the figures.

GNU OpenMP lets a waiting thread spin for milliseconds, which is fastest while every thread has a core, and nearly
stops the model as soon as anything else wants one. It cannot be told to change its mind, but it spins for less while a
process holds more OpenMP threads than there are cores: so while cores are scarce, a crowd of idle ones is held.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import threading
import time
from pathlib import Path

_SAMPLE_S = 0.25
_TASKS = "/proc/self/task"


class Contention:
    """Whether this process has to wait for cores, by the time that its threads were ready to run and did not. Pure.

    The share of waiting is smoothed: a process that has the machine for itself waits a fifth of a second in a second
    (over all its threads), now and then all of a tenth; one that shares its cores waits for most of every second.
    """

    felt_above = 0.6
    calm_below = 0.35
    smoothed_over_s = 0.4

    def __init__(self) -> None:
        self.felt = False
        self._share = 0.0
        self._last: tuple[float, float] | None = None

    def sample(self, now: float, waited_s: float) -> bool:
        """Takes the waiting time of all threads so far; returns whether cores are scarce. `now` in seconds."""
        last, self._last = self._last, (now, waited_s)
        if last is None or now <= last[0]:
            return self.felt
        passed_s = now - last[0]
        # A thread that ended takes its waiting time with it.
        share = max(0.0, waited_s - last[1]) / passed_s
        self._share += (share - self._share) * (1 - math.exp(-passed_s / self.smoothed_over_s))
        self.felt = self._share > (self.calm_below if self.felt else self.felt_above)
        return self.felt

    def pause(self) -> None:
        """What happens until the next sample is not counted."""
        self._last = None


class Spinning:
    """Watches for contention while the engine works, and holds the crowd while there is some.

    Where the operator has set how OpenMP waits, or where there is no GNU OpenMP, it does nothing; where waiting cannot
    be measured it holds the crowd all the time.
    """

    def __init__(self) -> None:
        self._libraries: list[ctypes.CDLL] = []
        self._working = 0
        self._change = threading.Condition()
        self._closed = False
        self._crowd: threading.Event | None = None
        self._watcher = threading.Thread(target=self._watch, name="llama-spinning")

    def start(self) -> None:
        """Call it when the engine's library is loaded."""
        self._libraries = _loaded()
        if self._libraries:
            self._watcher.start()

    def count(self, change: int) -> None:
        """So many more requests are worked on."""
        with self._change:
            self._working += change
            self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._watcher.is_alive():
            self._watcher.join()

    def _watch(self) -> None:
        contention = Contention()
        while self._until_working(contention):
            waited_s = waited()
            self._hold(waited_s is None or contention.sample(time.monotonic(), waited_s))
            time.sleep(_SAMPLE_S)
        self._hold(False)

    def _until_working(self, contention: Contention) -> bool:
        with self._change:
            while not self._working and not self._closed:
                contention.pause()
                self._change.wait()
            return not self._closed

    def _hold(self, wanted: bool) -> None:
        if wanted and self._crowd is None:
            self._crowd = threading.Event()
            threading.Thread(target=_crowd, args=(self._libraries, self._crowd), name="llama-crowd").start()
        elif not wanted and self._crowd is not None:
            self._crowd.set()
            self._crowd = None


def waited() -> float | None:
    """Seconds for which this process's threads were ready to run and had no core; None where nobody counts that.

    Source: the second field of /proc/PID/task/TID/schedstat, in nanoseconds (Linux, Documentation/scheduler).
    """
    total = 0
    try:
        for task in os.listdir(_TASKS):
            total += _waited_ns(task)
    except OSError:
        return None
    return total / 1e9


def _waited_ns(task: str) -> int:
    try:
        file = os.open(f"{_TASKS}/{task}/schedstat", os.O_RDONLY)
    except FileNotFoundError:
        if task == str(os.getpid()):  # this thread is alive: it is the kernel that does not count
            raise
        return 0
    try:
        return int(os.read(file, 128).split()[1])
    except ProcessLookupError:
        return 0
    finally:
        os.close(file)


def _loaded() -> list[ctypes.CDLL]:
    """The GNU OpenMP libraries of this process, unless the operator has decided how they wait."""
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return []
    try:
        paths = re.findall(r"/\S*/libgomp\b\S*", Path("/proc/self/maps").read_text())
        return [ctypes.CDLL(path) for path in dict.fromkeys(paths)]
    except OSError:
        return []


def _crowd(libraries: list[ctypes.CDLL], released: threading.Event) -> None:
    """More threads than cores, asleep; they count as OpenMP's until this thread, which called for them, ends."""
    # Any function will do that takes a pointer or nothing: each of the threads calls it once.
    work = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    for library in libraries:
        library.GOMP_parallel(work, None, ctypes.c_uint((os.cpu_count() or 1) + 1), ctypes.c_uint(0))
    released.wait()
