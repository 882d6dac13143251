"""Which requests that lacked memory beside others are tried again by themselves. Pure: time is an argument."""

from __future__ import annotations

# A trial holds others back, so that one owner causes one in so long.
_BETWEEN_S = 60.0
# All owners together hold others back for this share of the time, and a number of trials more after a quiet time.
_SHARE = 0.1
_AT_ONCE = 2


class MemoryTrials:
    """Remembers how large a request must be to fail by itself, and who had a trial lately. Sizes are prompt tokens.

    In any time of T seconds others are held back for at most T / 10 and two trials of full length, whoever causes them.

    Args:
        longest_s: a trial holds others back for at most so long.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._left_s = self._most_s = _AT_ONCE * longest_s
        self._filled_at: float | None = None
        self._too_large: int | None = None
        self._tried: dict[str, float] = {}

    def begin(self, owner: str, size: int, now: float) -> bool:
        """Whether this owner's request may be tried by itself now; True counts as a trial, until `end`."""
        self._fill(now)
        self._tried = {who: at for who, at in self._tried.items() if now - at < _BETWEEN_S}
        known = self._too_large is not None and size >= self._too_large
        if known or owner in self._tried or self._left_s < self._longest_s:
            return False
        self._tried[owner] = now
        self._left_s -= self._longest_s
        return True

    def end(self, began: float, now: float) -> None:
        """A trial that began then holds nobody back any more: what it did not need is there for others."""
        self._fill(now)
        self._left_s = min(self._most_s, self._left_s + max(0.0, self._longest_s - (now - began)))

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            self._left_s = min(self._most_s, self._left_s + _SHARE * max(0.0, now - self._filled_at))
        self._filled_at = now

    def failed(self, size: int) -> None:
        """A request of this size failed by itself; 0 where the size is not known."""
        if size:
            self._too_large = size if self._too_large is None else min(size, self._too_large)

    def fitted(self, size: int) -> None:
        """A request of this size was answered."""
        if self._too_large is not None and size >= self._too_large:
            self._too_large = None
