"""What each person costs all chats: calls of lately, answers on their way. Pure: the clock is an argument."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

LATELY_S = 60.0
"""The longest window in which a platform counts."""
_REMEMBERED = 10_000


class Spending:
    """Calls of the last minute, by whom they were for. Those whose last one is longest ago are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Hashable, deque[float]] = OrderedDict()
        self._under_way: Counter[str] = Counter()

    def begin(self, asker: str) -> None:
        """A reply is on its way; `end` it."""
        self._under_way[asker] += 1

    def end(self, asker: str) -> None:
        self._under_way[asker] -= 1
        if not self._under_way[asker]:
            del self._under_way[asker]

    def under_way(self, asker: str) -> int:
        """Return the number of replies that have begun and not ended."""
        return self._under_way[asker]

    def add(self, asker: Hashable, now: float) -> None:
        calls = self._calls.setdefault(asker, deque())
        while calls and calls[0] <= now - LATELY_S:
            calls.popleft()
        calls.append(now)
        self._calls.move_to_end(asker)
        while len(self._calls) > _REMEMBERED or next(iter(self._calls.values()))[-1] <= now - LATELY_S:
            self._calls.popitem(last=False)

    def of(self, asker: Hashable, now: float, within_s: float) -> int:
        """Return the number of calls in so many seconds, a minute at most."""
        calls = self._calls.get(asker, ())
        return len(calls) - bisect_right(calls, now - within_s)
