"""Several updates that are one request: the pictures of an album, the parts of a text that its author's app divided,
and what is forwarded with the comment that the app sends before it.

What belongs together follows from the updates as they were recorded, so after a crash it is the same request again.
A comment is answered at once, because nothing tells that something will follow it. When that comes, both are asked
together, in the place of the answer that has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from adapters.telegram.outbound.rendering import MESSAGE_UNITS
from adapters.telegram.updates.parsing import IncomingMessage, quotation
from bots.commands.registry import is_stop, read
from bots.ports import Received

QUIET_S = 0.8
"""A request is complete when no further part of it has come for so long."""
_RECORDING_S = 0.2
"""A part of a text may take so much longer to be recorded than the one before it."""
_FORWARDED_S = 0.4
"""How long further forwarded messages are waited for; apps send them in one go."""
_DATED_WITHIN_S = 1
"""Of two parts of a request, in whole seconds: what waited on Telegram's servers comes at once, however old it is."""
_COMMENT_S = 1.0
"""So much later what is forwarded may be recorded than its comment."""
_FENCE, _FENCE_END = "```", "\n```"
_MOST_PARTS = 256
"""More than the longest text that is taken on (`bots.conversation.person_queue`) has: whoever never ends holds no more
of it here."""
_SHORTEST_CUT = MESSAGE_UNITS // 2
"""Telegram Desktop cuts at the last empty line, line or sentence of the second half (`TextUtilities::CutPart`)."""


@dataclass(slots=True, eq=False)
class _Growing:
    events: list[Received]
    parts: list[IncomingMessage]
    is_closed: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """It has grown, or was closed."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def may_grow(self) -> bool:
        return not self.is_closed and len(self.parts) < _MOST_PARTS and _may_go_on(self.parts[-1])

    def takes(self, event: Received, part: IncomingMessage, within_s: float) -> bool:
        if part.album:
            return len(self.parts) < _MOST_PARTS
        if not (self.may_grow and _is_near(self.events[-1], self.parts[-1], event, part, within_s)):
            return False
        return part.forwarded or (_is_words(part) and not self.parts[-1].forwarded)

    def add(self, event: Received, part: IncomingMessage) -> None:
        self.events.append(event)
        self.parts.append(part)
        self.news.set()

    def close(self) -> None:
        self.is_closed = True
        self.news.set()


class UpdateAggregator:
    """Collects the parts of requests while they arrive."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._growing: dict[tuple[str, str], _Growing] = {}
        """By chat, and album or author."""
        self._newest: dict[tuple[str, str], tuple[Received, IncomingMessage]] = {}
        """What each author asked last in each chat, for as long as it may be the comment of what is forwarded."""
        self._completed = set[str]()
        """Events of comments that are settled with what was forwarded behind them."""

    async def collect(
        self, event: Received, part: IncomingMessage
    ) -> tuple[Sequence[Received], IncomingMessage] | None:
        """The whole request for the first of its parts; None for the others, which are in it.

        A message that is no part of what its author has just begun there comes after that. What is forwarded comes with
        the comment before it, whose event is the last one then; `completes` names its message.
        """
        comment = self._comment_of(event, part)
        key = part.destination.chat, part.album or part.author.id
        while (begun := self._growing.get(key)) is not None:
            if begun.takes(event, part, self._quiet_s):
                begun.add(event, part)
                return None
            begun.close()
            if is_stop(part.text):  # it finds what is on its way, too
                break
            await begun.over.wait()
        if not _may_go_on(part):
            return [event], part
        own = self._growing[key] = _Growing([event], [part])
        quiet_s = self._quiet_s if part.album else _FORWARDED_S if part.forwarded else self._quiet_s + _RECORDING_S
        try:
            while own.may_grow and await _happens(own.news, quiet_s):
                own.news.clear()
        finally:
            del self._growing[key]
            own.over.set()
        if comment is None:
            return own.events, _joined(own.parts)
        return [*own.events, comment[0]], _completed(comment[1], _joined(own.parts))

    def _comment_of(self, event: Received, part: IncomingMessage) -> tuple[Received, IncomingMessage] | None:
        """The message that comments on this one; this one is remembered if it may be a comment itself."""
        now = event.received_at
        while self._newest and now - next(iter(self._newest.values()))[0].received_at > _COMMENT_S:
            del self._newest[next(iter(self._newest))]
        key = part.destination.chat, part.author.id
        comment = self._newest.pop(key, None)
        if part.forwarded:
            if comment is None or not _is_near(*comment, event, part, _COMMENT_S):
                return None
            self._completed.add(comment[0].id)
            return comment
        if part.meant and part.text and not part.album and not _may_go_on(part) and _is_question(part):
            self._newest[key] = event, part
        return None

    def is_completed(self, comment: Received) -> bool:
        """Whether the event is settled with another one, which was forwarded with it."""
        return comment.id in self._completed

    def over(self, events: Sequence[Received]) -> None:
        """The request that these events are is answered, or left."""
        self._completed.difference_update(event.id for event in events)

    async def done_with(self, edit: IncomingMessage) -> None:
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


def _may_go_on(part: IncomingMessage) -> bool:
    return bool(part.album) or part.units > _SHORTEST_CUT or part.forwarded


def _is_near(
    earlier: Received, before: IncomingMessage, event: Received, part: IncomingMessage, within_s: float
) -> bool:
    is_dated = abs(part.written_at - before.written_at) <= _DATED_WITHIN_S
    return is_dated and abs(event.received_at - earlier.received_at) < within_s


def _is_question(part: IncomingMessage) -> bool:
    called = read(part.text)
    return called is None or called.name in ("ask", "code", "caption")


def _is_words(part: IncomingMessage) -> bool:
    called = read(part.text)
    return part.units > 0 and (called is None or not called.known)


def _joined(parts: Sequence[IncomingMessage]) -> IncomingMessage:
    """One message in the order in which the parts were sent: an album under its caption, a text with all its words."""
    parts = sorted(parts, key=lambda part: int(part.message_id))
    first = parts[0]
    if first.album or first.forwarded:
        between = "\n" if first.album else "\n\n"
        text = between.join(part.text for part in parts if part.text)
        files = tuple(file for part in parts for file in part.files)
    else:
        # Some apps make each part a reply; then each one brings the pictures of the message that it replies to.
        text = first.text
        for part, following in pairwise(parts):
            if following.forwarded and following.text:
                text += f"\n\n{quotation(following.text)}"
            else:
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


def _completed(comment: IncomingMessage, forwarded: IncomingMessage) -> IncomingMessage:
    """The comment with what it is about."""
    return replace(
        comment,
        text=f"{comment.text}\n\n{quotation(forwarded.text)}" if forwarded.text else comment.text,
        files=(*comment.files, *forwarded.files),
        also=(forwarded.message_id, *forwarded.also),
        completes=comment.message_id,
        new=forwarded.new,
    )


def _joint(part: IncomingMessage) -> str:
    """Telegram drops blanks at both ends of a message; a full one was cut within a word."""
    return "" if part.units >= MESSAGE_UNITS else "\n"


def _continued(text: str, joint: str, rest: str) -> str:
    """A block of code that the app divided is one again."""
    if text.endswith(_FENCE_END) and rest.startswith(_FENCE):
        return text.removesuffix(_FENCE_END) + joint + rest.partition("\n")[2]
    return text + joint + rest
