"""Several updates that are one request: the pictures of an album, the parts of a text that its author's app divided.

What belongs together follows from the updates as they were recorded, so after a crash it is the same request again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from adapters.telegram.rendering import MESSAGE_UNITS
from adapters.telegram.requests import Asked
from bots.commands import read
from bots.ports import Received

QUIET_S = 0.8
"""A request is complete when no further part of it has come for so long."""
_RECORDING_S = 0.2
"""A part of a text may take so much longer to be recorded than the one before it."""
_DATED_WITHIN_S = 1
"""Of two parts of a text, in whole seconds: what waited on Telegram's servers comes at once, however old it is."""
_FENCE, _FENCE_END = "```", "\n```"
_MOST_PARTS = 256
"""More than the longest text that is taken on (`bots.admission`) has: whoever never ends holds no more of it here."""
_SHORTEST_CUT = MESSAGE_UNITS // 2
"""Telegram Desktop cuts at the last empty line, line or sentence of the second half (`TextUtilities::CutPart`)."""


@dataclass(slots=True, eq=False)
class _Growing:
    events: list[Received]
    parts: list[Asked]
    is_closed: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """It has grown, or was closed."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def may_grow(self) -> bool:
        return not self.is_closed and len(self.parts) < _MOST_PARTS and _may_go_on(self.parts[-1])

    def takes(self, event: Received, part: Asked, within_s: float) -> bool:
        if part.album:
            return len(self.parts) < _MOST_PARTS
        last, recorded_at = self.parts[-1], self.events[-1].received_at
        is_near = abs(part.written_at - last.written_at) <= _DATED_WITHIN_S
        return self.may_grow and is_near and abs(event.received_at - recorded_at) < within_s and _is_words(part)

    def add(self, event: Received, part: Asked) -> None:
        self.events.append(event)
        self.parts.append(part)
        self.news.set()

    def close(self) -> None:
        self.is_closed = True
        self.news.set()


class Gathering:
    """Collects the parts of requests while they arrive."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._growing: dict[tuple[str, str], _Growing] = {}
        """By chat, and album or author."""

    async def collect(self, event: Received, part: Asked) -> tuple[Sequence[Received], Asked] | None:
        """The whole request for the first of its parts; None for the others, which are in it.

        A message that is no part of what its author has just begun there comes after that.
        """
        key = part.destination.chat, part.album or part.author.id
        while (begun := self._growing.get(key)) is not None:
            if begun.takes(event, part, self._quiet_s):
                begun.add(event, part)
                return None
            begun.close()
            await begun.over.wait()
        if not _may_go_on(part):
            return [event], part
        own = self._growing[key] = _Growing([event], [part])
        quiet_s = self._quiet_s + (0 if part.album else _RECORDING_S)
        try:
            while own.may_grow and await _happens(own.news, quiet_s):
                own.news.clear()
        finally:
            del self._growing[key]
            own.over.set()
        return own.events, _joined(own.parts)

    async def done_with(self, edit: Asked) -> None:
        """Returns when the message that was edited is in no request that is still growing."""
        begun = self._growing.get((edit.destination.chat, edit.author.id))
        if begun is not None and any(part.message_id == edit.message_id for part in begun.parts):
            await begun.over.wait()


async def _happens(news: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await news.wait()
    except TimeoutError:
        return False


def _may_go_on(part: Asked) -> bool:
    return bool(part.album) or part.units > _SHORTEST_CUT


def _is_words(part: Asked) -> bool:
    called = read(part.text)
    return part.units > 0 and (called is None or not called.known)


def _joined(parts: Sequence[Asked]) -> Asked:
    """One message in the order in which the parts were sent: an album under its caption, a text with all its words."""
    parts = sorted(parts, key=lambda part: int(part.message_id))
    first = parts[0]
    if first.album:
        text = "\n".join(part.text for part in parts if part.text)
        files = tuple(file for part in parts for file in part.files)
    else:
        # Some apps make each part a reply; then each one brings the pictures of the message that it replies to.
        text = first.text
        for part, following in pairwise(parts):
            text = _continued(text, _joint(part), following.text)
        files = next((part.files for part in parts if part.files), ())
    return replace(
        first,
        text=text,
        quote=next((part.quote for part in parts if part.quote), ""),
        files=files,
        reply_to=next((part.reply_to for part in parts if part.reply_to), None),
        meant=any(part.meant for part in parts),
        new=all(part.new for part in parts),
        also=tuple(part.message_id for part in parts[1:]),
    )


def _joint(part: Asked) -> str:
    """Telegram drops blanks at both ends of a message; a full one was cut within a word."""
    return "" if part.units >= MESSAGE_UNITS else "\n"


def _continued(text: str, joint: str, rest: str) -> str:
    """A block of code that the app divided is one again."""
    if text.endswith(_FENCE_END) and rest.startswith(_FENCE):
        return text.removesuffix(_FENCE_END) + joint + rest.partition("\n")[2]
    return text + joint + rest
