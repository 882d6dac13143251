"""Which of llama.cpp's slots reads a request's prompt."""

from __future__ import annotations

from inference.engines.cache_salt import Prefix

_LONG_BLOCKS = 64
"""A prompt of which more is to be read takes several steps."""


class Slots:
    """Slots by number. Chosen here and not by the library, which prefers whichever has most of a prompt, whoever asked.

    The library fills each step with the prompts that are to be read, in the order of the slots. So long ones are read
    in the second half of them, and others in slots before them: these wait for one step, not for all of a long prompt.
    (llama.cpp, `server_context::update_slots`.)

    Args:
        count: slots of the library.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: dict[int, Prefix | None] = dict.fromkeys(range(count))
        """The prompt that each has read last; what was not used for longest comes first."""
        self._reading: set[int] = set()
        """Where long prompts are being read."""
        self._for_long = count - max(1, count // 4)
        """The first of those that short prompts leave free while there are others."""

    def take(self, prefix: Prefix) -> int | None:
        """Return the free slot that has most of this owner's prompt, else the one not used for longest.

        None where none is free.
        """
        if not self._free:
            return None
        shared = {slot: _shared(last, prefix) for slot, last in self._free.items()}
        most = max(shared.values())
        if len(prefix.blocks) - most > _LONG_BLOCKS:
            slot = max(shared, key=lambda each: (shared[each], each >= self._count // 2))
            self._reading.add(slot)
        else:
            before = min(self._reading, default=self._count)
            quick = [each for each in shared if each < before and len(prefix.blocks) - shared[each] <= _LONG_BLOCKS]
            slot = max(quick or shared, key=lambda each: (shared[each], each < self._for_long))
        del self._free[slot]
        return slot

    def read(self, slot: int) -> None:
        """The slot has read its prompt."""
        self._reading.discard(slot)

    def give(self, slot: int, prefix: Prefix) -> None:
        """The slot has read this prompt, or was stopped, and is free again."""
        self._reading.discard(slot)
        self._free[slot] = prefix


def _shared(last: Prefix | None, prefix: Prefix) -> int:
    """Blocks that both begin with, which are equal only where all before them are."""
    if last is None or last.owner != prefix.owner:
        return 0
    return len({*last.blocks} & {*prefix.blocks})
