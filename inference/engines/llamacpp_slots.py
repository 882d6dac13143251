"""Which of llama.cpp's slots reads a request's prompt."""

from __future__ import annotations

from inference.engines.cache_salt import Prefix


class Slots:
    """Slots by number. Chosen here and not by the library, which prefers whichever has most of a prompt, whoever asked.

    Args:
        count: slots of the library.
    """

    def __init__(self, count: int) -> None:
        self._free: dict[int, Prefix | None] = dict.fromkeys(range(count))
        """The prompt that each has read last; what was not used for longest comes first."""

    def take(self, prefix: Prefix) -> int | None:
        """Return the free slot that has most of this owner's prompt, else the one not used for longest.

        None where none is free.
        """
        slot = max(self._free, key=lambda each: _shared(self._free[each], prefix), default=None)
        if slot is not None:
            del self._free[slot]
        return slot

    def give(self, slot: int, prefix: Prefix) -> None:
        """The slot has read this prompt and is free again."""
        self._free[slot] = prefix


def _shared(last: Prefix | None, prefix: Prefix) -> int:
    """Blocks that both begin with, which are equal only where all before them are."""
    if last is None or last.owner != prefix.owner:
        return 0
    return len({*last.blocks} & {*prefix.blocks})
