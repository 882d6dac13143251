"""How much each person did in the last minute. Pure: the clock is an argument."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

MINUTE_S = 60.0
_REMEMBERED = 10_000


class Rates:
    """Sliding windows of one minute. The keys that were used least recently are forgotten."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._windows: OrderedDict[Hashable, deque[float]] = OrderedDict()
        self._remembered = remembered

    def wait_s(self, key: Hashable, limit: int, now: float, size: int = 1) -> float:
        """Return the seconds until `size` more fit within the limit, 0 if they fit now.

        Something larger than the limit fits into an empty window.

        Args:
            now: seconds of any clock. One that is set back empties the window: nobody may be locked out until it has
                caught up.
        """
        times = self._windows.get(key, deque())
        while times and not now - MINUTE_S < times[0] <= now:
            times.popleft()
        surplus = len(times) + size - max(limit, size)
        return min(MINUTE_S, times[surplus - 1] + MINUTE_S - now) if surplus > 0 else 0.0

    def add(self, key: Hashable, now: float, size: int = 1) -> None:
        """Count something of that size."""
        self._windows.setdefault(key, deque()).extend([now] * size)
        self._windows.move_to_end(key)
        if len(self._windows) > self._remembered:
            self._windows.popitem(last=False)
