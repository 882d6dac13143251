"""One reply on its way: what its events have come to, what of that is on the platform, and the next call to make."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b

from adapters.delivery.attachments import Attachment
from adapters.delivery.channel import Channel, Frame
from adapters.delivery.frames import Assembler, Placed
from bots.messages import ReplyEvent
from bots.ports import Deliveries

_TYPING_AFTER_S = 0.5


class Priority(IntEnum):
    FINAL = 0
    FIRST = 1
    PREVIEW = 2
    TYPING = 3


@dataclass(slots=True)
class Shown:
    """What the platform shows of one message, as far as is known."""

    nonce: str
    message_id: str | None = None
    frame: Frame | None = None
    unsure: bool = False
    """There may be such a message, but its id is not known."""
    at: float = 0.0
    """When the frame was shown."""


class Reply:
    """One reply on its way: what its events have come to, and how much of that is on the platform."""

    def __init__(
        self,
        channel: Channel,
        chat: str,
        assembler: Assembler,
        reply_to: str | None,
        record: Deliveries,
        nonce: str,
        now: float,
    ) -> None:
        self.channel, self.chat, self.assembler, self.reply_to, self.record = channel, chat, assembler, reply_to, record
        self.finished = asyncio.Event()
        """Everything is on the platform, or nothing more can be."""
        self.began_at = now
        self.served_at = now
        self.typed_at = float("-inf")
        self.visible = False
        self.changed_at: float | None = None
        """Since when there has been something new to show."""
        self.over = False
        """It needs no further delivery, also after a restart."""
        self._nonce = nonce
        self._part = 0
        self._position = 0
        self._shown: dict[int, Shown] = {}
        self._uploads: list[tuple[Attachment, Shown]] | None = None

    def next_job(self, now: float) -> Job | None:
        """The next call of this reply; None where all that can be shown is shown."""
        while self._part < len(self.assembler.parts):
            part = self.assembler.parts[self._part]
            for placed in part.messages(now, self._position):
                shown = self._state(placed)
                if shown.frame != placed.frame or shown.unsure or self._fades_at(shown) <= now:
                    return Job(self, self._priority(), placed, shown)
                if not placed.final:
                    return None
                self._position = placed.position + 1
                self._shown.pop(placed.position)
            if not part.ended:
                return None
            if self._uploads is None:
                name = part.name or f"{self._nonce}:{self._part}"
                self._uploads = [
                    (file, Shown(self._hashed(f"{name}:{file.name}"), unsure=part.resumed))
                    for file in part.attachments()
                ]
            if self._uploads:
                return Job(self, Priority.FINAL, None, self._uploads[0][1], self._uploads[0][0])
            self._part, self._position, self._uploads = self._part + 1, 0, None
        if self.assembler.complete:
            self.finish()
        elif not self.assembler.parts and self.typing_due() <= now:
            return Job(self, Priority.TYPING, None, Shown(""))
        return None

    def typing_due(self) -> float:
        """When "typing" should be shown (again); it never is where the platform has none or a message is there."""
        every = self.channel.limits.typing_s
        if not every or self.visible or self.assembler.parts:
            return float("inf")
        return max(self.began_at + _TYPING_AFTER_S, self.typed_at + every)

    def wake_at(self, now: float) -> float:
        """When there will be something to do though no event has come."""
        part = self.assembler.parts[self._part] if self._part < len(self.assembler.parts) else None
        changes_at = part.changes_at(now) if part else None
        fades_at = min(map(self._fades_at, self._shown.values()), default=float("inf"))
        return min(self.typing_due(), fades_at, float("inf") if changes_at is None else changes_at)

    def _fades_at(self, shown: Shown) -> float:
        """When a growing message has to be shown again."""
        lasts_s = self.channel.limits.growing_s
        return shown.at + lasts_s if lasts_s and shown.frame and shown.frame.growing else float("inf")

    def take(self, event: ReplyEvent, now: float) -> None:
        self.assembler.apply(event, now)
        if self.changed_at is None:
            self.changed_at = now

    def finish(self) -> None:
        """Everything is shown, or the message or the chat is lost for good."""
        self.over = True
        self.finished.set()

    async def record_shown(self) -> None:
        """A repeated event needs nothing more."""
        for part in self.assembler.parts:
            if self.over and part.name:
                await self.record.record_shown(self.chat, part.name)

    def uploaded(self) -> None:
        if self._uploads:
            self._uploads.pop(0)

    def refuse(self) -> None:
        self.assembler.parts[self._part].refused = True

    def _state(self, placed: Placed) -> Shown:
        shown = self._shown.get(placed.position)
        if shown is None:
            key = placed.answer_id or placed.named or f"{self._nonce}:{self._part}"
            shown = self._shown[placed.position] = Shown(self._hashed(f"{key}:{placed.position}"), placed.known_id)
            # A message that an earlier run sent and did not live to record is looked for before it is sent again.
            shown.unsure = placed.known_id is None and self.assembler.parts[self._part].resumed
            self.visible |= placed.known_id is not None
        if placed.settled:
            shown.frame = placed.frame
        return shown

    def _hashed(self, name: str) -> str:
        """A nonce of at most 25 characters, as Discord wants it; the same for the same message after a restart."""
        return blake2b(f"{self.chat}:{name}".encode("utf-8", "replace"), digest_size=11).hexdigest()

    def _priority(self) -> Priority:
        if self.assembler.complete:
            return Priority.FINAL
        return Priority.PREVIEW if self.visible else Priority.FIRST


@dataclass(frozen=True, slots=True)
class Job:
    """One call to make for a reply: to show a frame, to upload a file, or (neither) to show typing."""

    reply: Reply
    priority: Priority
    placed: Placed | None
    shown: Shown
    file: Attachment | None = None

    async def call(self) -> None:
        if self.placed:
            await self._show(self.placed)
        elif self.file:
            await self._upload(self.file)
        else:
            await self.reply.channel.typing()

    async def _show(self, placed: Placed) -> None:
        reply, shown = self.reply, self.shown
        if shown.message_id is None and not await self._was_sent_after_all():
            sent = await reply.channel.send(placed.frame, reply_to=self._reply_to(placed), nonce=shown.nonce)
            await self._sent(sent, placed.frame)
        elif shown.message_id is not None:
            renamed = await reply.channel.edit(shown.message_id, placed.frame)
            if renamed is not None:
                await self._sent(renamed, placed.frame)
            shown.frame, shown.unsure, shown.at = placed.frame, False, reply.served_at

    async def _upload(self, file: Attachment) -> None:
        if not await self._was_sent_after_all():
            await self.reply.channel.upload(
                file.name, file.data, reply_to=self.reply.reply_to, nonce=self.shown.nonce, private=file.private
            )
        self.reply.uploaded()

    async def _was_sent_after_all(self) -> bool:
        """Whether an earlier attempt went through; where that is not known, one more look precedes another attempt."""
        if not self.shown.unsure:
            return False
        found = await self.reply.channel.find(self.shown.nonce)
        if found is None:
            self.shown.unsure = False
            return False
        await self._sent(found, None)
        return True

    async def _sent(self, message_id: str, frame: Frame | None) -> None:
        self.shown.message_id, self.shown.frame, self.shown.unsure = message_id, frame, False
        self.shown.at = self.reply.served_at
        self.reply.visible = True
        if self.placed and self.placed.answer_id:
            await self.reply.record.record_delivery(
                self.reply.chat, self.placed.answer_id, self.placed.position, message_id
            )

    def _reply_to(self, placed: Placed) -> str | None:
        return None if placed.position else self.reply.reply_to

    def unknown(self) -> None:
        self.shown.unsure = self.shown.message_id is None
        self.shown.frame = None

    def rejected(self) -> None:
        """What this call was for cannot be shown; what comes after it can."""
        if self.placed:
            self.shown.frame, self.shown.unsure = self.placed.frame, False
            if self.placed.final:
                self.reply.refuse()
        elif self.file:
            self.reply.uploaded()
