"""Which events this process has in hand: each is the business of one task, whoever else comes across it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_REMEMBERED = 10_000


class InHand:
    """The ids of events that are being recorded or answered, and of the newest ones that were.

    Whoever looks for what a dead process has left also finds what this one is receiving just now, and what it finds may
    have been answered since it looked.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._recording: dict[str, asyncio.Event] = {}
        self._busy: set[str] = set()
        self._over: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._recording or event_id in self._busy or event_id in self._over

    @contextmanager
    def recording(self, event_ids: Collection[str]) -> Iterator[None]:
        """While it is not known whether these events are new; none of them is in hand yet."""
        known = asyncio.Event()
        self._recording.update(dict.fromkeys(event_ids, known))
        try:
            yield
        finally:
            for event_id in event_ids:
                del self._recording[event_id]
            known.set()

    def take(self, event_id: str) -> bool:
        """Whether the event is the caller's from now on."""
        if event_id in self._busy or event_id in self._over:
            return False
        self._busy.add(event_id)
        return True

    async def take_found(self, event_id: str) -> bool:
        """The same for an event that was left behind: one that has come again is recorded to the end first."""
        while (recording := self._recording.get(event_id)) is not None:
            await recording.wait()
        return self.take(event_id)

    def give_back(self, event_id: str) -> None:
        """Nothing was begun: whoever finds it next may take it."""
        self._busy.discard(event_id)

    def done(self, event_id: str) -> None:
        """This process does nothing more about it, whether it is answered or left for the next start."""
        self._busy.discard(event_id)
        self._over[event_id] = None
        if len(self._over) > self._remembered:
            self._over.popitem(last=False)
