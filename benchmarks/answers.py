"""A code answer as models write them: what the benchmarks stream."""

ANSWER = '''\
A *rate limiter* spaces calls so that a server is never asked more often than it allows. The version below keeps the
times of the latest calls in a `deque` and waits until the oldest one has left the window:

```python
import asyncio
from collections import deque


class RateLimiter:
    """At most `calls` calls in any window of `period` seconds."""

    def __init__(self, calls: int, period: float) -> None:
        self._calls = calls
        self._period = period
        self._times: deque[float] = deque()

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._times) >= self._calls:
            due = self._times[0] + self._period
            if due <= loop.time():
                self._times.popleft()
            else:
                await asyncio.sleep(due - loop.time())
        self._times.append(loop.time())
```

Two things are worth knowing:

1. It is **fair**: whoever waits first goes first, because the loop wakes sleepers in order.
2. It holds one float for each call in the window, so its memory is bounded by `calls`.

| calls | period | a call every |
|---|---|---|
| 5 | 5 s | 1 s |
| 30 | 60 s | 2 s |

Use it like this: `await limiter.wait()` before each request. [More on deques](https://docs.python.org/3/library/collections.html).

'''
