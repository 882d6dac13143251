"""Whether an engine still works, and which of its requests do not. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)

# A request that gets nothing while the engine works for others may just be waiting for their prompts to be read.
_OWN_SHARE = 2


class Liveness(Generic[W]):
    """Measures silence for the engine, by its counter of steps, and for each wait for its next output.

    Args:
        silence_s: an engine whose counter stands still for so long while somebody waits is silent. A single wait is
            stuck after twice as long, whatever the engine does for others.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._since: dict[W, float] = {}
        self._steps = 0
        self._moved_at = 0.0

    @property
    def idle(self) -> bool:
        """Nobody waits for anything."""
        return not self._since

    def waits(self, wait: W, now: float) -> None:
        """Somebody waits for the engine from now on."""
        if not self._since:
            self._moved_at = now
        self._since[wait] = now

    def ends(self, wait: W) -> None:
        """That wait is over, whatever it brought."""
        self._since.pop(wait, None)

    def all(self) -> list[W]:
        return list(self._since)

    def counted(self, steps: int, now: float) -> None:
        """The engine's counter, read now."""
        if steps != self._steps:
            self._steps, self._moved_at = steps, now

    def silent(self, now: float) -> bool:
        """Whether the engine as a whole has done nothing for `silence_s`, and somebody waits."""
        return bool(self._since) and now - self._moved_at >= self._silence_s

    def stuck(self, now: float) -> list[W]:
        """The waits that have lasted too long although the engine works."""
        if self.silent(now):
            return []
        return [wait for wait, since in self._since.items() if now - since >= self._silence_s * _OWN_SHARE]

    def passed(self, now: float) -> list[W]:
        """A check found the engine sound: returns the waits that it has nothing for, and measures the rest anew."""
        self._moved_at = now
        return [wait for wait, since in self._since.items() if now - since >= self._silence_s]
