"""Albums: several updates that Telegram sends one after the other are one request with all pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adapters.telegram.requests import Asked
from bots.ports import Received

QUIET_S = 0.8
"""An album is complete when no further picture of it has come for so long."""


@dataclass(slots=True)
class _Album:
    events: list[Received] = field(default_factory=list)
    parts: list[Asked] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)


class Albums:
    """Collects albums while they arrive."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._growing: dict[tuple[str, str], _Album] = {}

    async def collect(self, event: Received, part: Asked) -> tuple[Sequence[Received], Asked] | None:
        """The whole album for the first of its parts; None for the others, which are in it."""
        key = part.destination.chat, part.album
        album = self._growing.get(key)
        if album is not None:
            album.events.append(event)
            album.parts.append(part)
            album.grown.set()
            return None
        album = self._growing[key] = _Album([event], [part])
        try:
            while await _grows(album.grown, self._quiet_s):
                album.grown.clear()
        finally:
            del self._growing[key]
        return album.events, _joined(album.parts)


async def _grows(grown: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await grown.wait()
    except TimeoutError:
        return False


def _joined(parts: Sequence[Asked]) -> Asked:
    """One message with all pictures, in the order in which they were sent, under the caption that there is."""
    parts = sorted(parts, key=lambda part: int(part.message_id))
    captions = [part.text for part in parts if part.text]
    return replace(
        parts[0],
        text="\n".join(captions),
        files=tuple(file for part in parts for file in part.files),
        reply_to=next((part.reply_to for part in parts if part.reply_to), None),
        meant=any(part.meant for part in parts),
        new=all(part.new for part in parts),
    )
