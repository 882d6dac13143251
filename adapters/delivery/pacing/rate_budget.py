"""How many calls may be made now: so many in a window, or one in an interval with some saved up.

Pure: every method takes its time in seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

_CLOCK_S = 0.001
"""No two clocks are exact to less."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a platform allows.

    Args:
        calls, window_s: so many calls in so many seconds.
        burst: 0: no window holds more calls than that (Telegram's groups, Discord). Otherwise the calls come back one
            by one, every `window_s / calls`, and so many may be saved up (Telegram's private chats).
    """

    calls: int
    window_s: float
    burst: int = 0

    @property
    def capacity(self) -> int:
        """The most calls that may be made at once."""
        return self.burst or self.calls

    @property
    def interval_s(self) -> float:
        """Seconds for each call, on average."""
        return self.window_s / self.calls

    @property
    def span_s(self) -> float:
        """Seconds until all calls are back after a burst."""
        return self.capacity * self.interval_s


class RateBudget:
    """Counts the calls of one rate.

    A call arrives at the platform at some moment between its begin and its end. So it is spent from its begin on, and
    its time to come back runs from its end: whatever happens to calls on their way, and however late this process is,
    the platform never counts more than are allowed.
    """

    def __init__(self, rate: Rate, ended: Iterable[float] = ()) -> None:
        """`ended`: when earlier calls ended, in order."""
        self.rate = rate
        self._in_flight = 0
        self._back: list[float] = []
        """When each call comes back, in order."""
        for time in ended:
            self._spend(time)

    def begin(self) -> None:
        """A call begins, whether one is free or not."""
        self._in_flight += 1

    def end(self, now: float) -> None:
        self._in_flight -= 1
        self._spend(now)

    def withdraw(self) -> None:
        """A call that began was not counted by the platform."""
        self._in_flight -= 1

    def free(self, at: float) -> int:
        """The calls that are free at that time if none is made until then."""
        return self.rate.capacity - self._in_flight - (len(self._back) - bisect_right(self._back, at))

    def free_at(self, needed: int) -> float:
        """From when on so many calls are free, if none is made until then.

        -inf: they are; inf: not before a call in flight has ended, or never.
        """
        may_be_out = self.rate.capacity - self._in_flight - needed
        if may_be_out < 0:
            return float("inf")
        return self._back[-may_be_out - 1] if may_be_out < len(self._back) else float("-inf")

    def next_back(self, now: float) -> float:
        """When the next call comes back; inf where none is out."""
        position = bisect_right(self._back, now)
        return self._back[position] if position < len(self._back) else float("inf")

    def _spend(self, now: float) -> None:
        rate, last = self.rate, self._back[-1] if self._back else now
        back = max(now, last) + rate.interval_s if rate.burst else now + rate.window_s
        del self._back[: bisect_right(self._back, now)]
        self._back.append(back + _CLOCK_S)
