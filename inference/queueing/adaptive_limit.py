"""How many may work at once, after some of them together were too much for the memory. Pure."""

from __future__ import annotations

# Good results at a smaller limit before the number that failed is tried again; twice as many each time it fails again.
_FIRST_PATIENCE, _MOST_PATIENCE = 8, 64


class AdaptiveLimit:
    """A limit that shrinks by what was seen to fail, and doubles until it has its full value again.

    From any value the full one is back after at most `_MOST_PATIENCE + 2 * most` good results.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.value = most
        self._good = 0
        self._patience = _FIRST_PATIENCE
        self._trials = False
        """More was tried than had failed before, and it is not yet certain that it can be."""
        self._failed: int | None = None
        """The smallest number that is known to have failed."""

    def shrink(self, failed: int, to: int | None = None) -> None:
        """`failed` at once were too many; from now on one less may, or `to`."""
        failed = max(2, min(failed, self.most))
        if self._trials:
            self._patience = min(_MOST_PATIENCE, self._patience * 2)
        self.value = max(1, min(self.value, failed - 1 if to is None else to))
        self._failed, self._good, self._trials = failed, 0, False

    def good(self) -> None:
        """One ended well."""
        self._good += 1
        if self.value == self.most:
            if self._good >= self._patience:
                self._patience, self._trials = _FIRST_PATIENCE, False
            return
        trial = self._failed is not None and self.value * 2 >= self._failed
        if self._good >= (self._patience if trial else self.value):
            self.value, self._good = min(self.most, self.value * 2), 0
            if trial:
                self._failed, self._trials = None, True

    def restore(self) -> None:
        """What failed is found, and it was not their number."""
        self.value, self._failed, self._good, self._trials = self.most, None, 0, False
