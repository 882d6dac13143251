"""Which requests that lacked memory beside others are tried again by themselves. Pure: time is an argument."""

from __future__ import annotations

# A trial holds others back, so that one owner causes one in so long.
_BETWEEN_S = 60.0


class MemoryTrials:
    """Remembers how large a request must be to fail by itself, and who had a trial lately. Sizes are prompt tokens."""

    def __init__(self) -> None:
        self._too_large: int | None = None
        self._tried: dict[str, float] = {}

    def begin(self, owner: str, size: int, now: float) -> bool:
        """Whether this owner's request may be tried by itself now; True counts as a trial."""
        self._tried = {who: at for who, at in self._tried.items() if now - at < _BETWEEN_S}
        known = self._too_large is not None and size >= self._too_large
        if known or owner in self._tried:
            return False
        self._tried[owner] = now
        return True

    def failed(self, size: int) -> None:
        """A request of this size failed by itself; 0 where the size is not known."""
        if size:
            self._too_large = size if self._too_large is None else min(size, self._too_large)

    def fitted(self, size: int) -> None:
        """A request of this size was answered."""
        if self._too_large is not None and size >= self._too_large:
            self._too_large = None
