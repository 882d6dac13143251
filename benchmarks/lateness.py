"""By how much an event loop is late. `python -m benchmarks.lateness SECONDS` measures one that does nothing else:
beside another process, it tells what the machine alone adds."""

from __future__ import annotations

import asyncio
import sys
import time
from statistics import quantiles

_NAP_S = 0.002


async def lateness(seconds: float) -> list[float]:
    """By how many seconds each of many short sleeps was late."""
    late, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await asyncio.sleep(_NAP_S)
        late.append(time.perf_counter() - began - _NAP_S)
    return late


def in_words(late: list[float]) -> str:
    """ "p99 3.1 ms, at most 8.0 ms"."""
    return f"p99 {quantiles(late, n=100)[-1] * 1000:.1f} ms, at most {max(late) * 1000:.1f} ms"


async def idle_beside(seconds: float) -> str:
    """The same of an idle loop in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.lateness", str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    words, _ = await process.communicate()
    return words.decode().strip()


if __name__ == "__main__":
    print(in_words(asyncio.run(lateness(float(sys.argv[1])))))
