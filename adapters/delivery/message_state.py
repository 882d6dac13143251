"""One reply on its way: what its events have come to, what of that is on the platform, and the next call to make."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from adapters.delivery.channel import SENDING, Channel, Forbidden, Frame, Later, MessageGone, Rejected, UnknownOutcome
from adapters.delivery.composing.attachments import Attachment
from adapters.delivery.composing.frame_builder import FrameBuilder, Part, Placed
from adapters.delivery.outcome import DELIVERED, Ending, Outcome
from adapters.delivery.pacing.call_budget import Priority
from bots.messages import CaptionReady, Failed, ReplyEvent, TextDelta
from bots.ports import FILES_FROM, Deliveries, StorageError

log = logging.getLogger(__name__)

_TYPING_AFTER_S = 0.1
"""What is said at once, such as the answer to a command, needs no typing before it."""
_PLACEHOLDER_AFTER_S = 0.7
"""Until then the first words may come, and are worth more than the call for a queue place."""
_FIRST_WORDS = 3
_OPENING = 100
"""Characters, in which these words are found."""
_COMPANY_S = 0.1
"""How long a first word waits for others to be shown with it."""
_FAULT_PAUSE_S = 1.0
"""A frame that cannot be made costs time, and the next one may do."""
_ANNOUNCED_WITHIN_S = 0.05
"""For first words, which stand behind their question and are found there without having been announced."""
_ANNOUNCING_LOOK_S = 1.0
"""Meanwhile it may have become another message; when it is announced, it is looked at once."""
_ANNOUNCED_AGAIN_S = 1.0
_MOST_FAULTS = 3
"""After so many unforeseen failures of one call it is left out."""


@dataclass(slots=True)
class MessageState:
    """What the platform shows of one message, as far as is known."""

    nonce: str
    message_id: str | None = None
    announcing: asyncio.Task[None] | None = None
    """Records what is about to be sent."""
    named: str = ""
    """The name under which this process has recorded it before sending it."""
    announced: str = ""
    """The name under which an earlier process recorded it before it sent it."""
    frame: Frame | None = None
    unsure: bool = False
    """There may be such a message, but its id is not known."""
    at: float = 0.0
    """When the frame was shown."""
    faults: int = 0
    """Unforeseen failures since something of it succeeded."""


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Delivery:
    """One reply on its way: what its events have come to, and how much of that is on the platform."""

    channel: Channel
    chat: str
    assembler: FrameBuilder
    reply_to: str | None
    record: Deliveries
    _nonce: str
    began_at: float
    asker: str = ""
    """Whom it is for."""
    party: str = ""
    """Whose turn it takes: the asker's, or that of all who share one."""
    state_of: str = ""
    """What it shows the state of: only the newest one of these is of use. "": nothing that changes."""
    wake: Callable[[], None] = field(default=lambda: None, init=False)
    """Set by its outbox: looks at once for what there is to show."""
    finished: asyncio.Future[None] = field(default_factory=_future, init=False)
    """Done when it has its outcome."""
    outcome: Outcome | None = field(default=None, init=False)
    in_flight: asyncio.Future[None] | None = field(default=None, init=False)
    """Done when its call in flight is over; None where none is."""
    not_before: float = field(default=0.0, init=False)
    """It waits until then after a failure, and nobody else does."""
    failures: int = field(default=0, init=False)
    failing_since: float = field(default=0.0, init=False)
    served_at: float = field(init=False)
    typed_at: float = field(default=float("-inf"), init=False)
    visible: bool = field(default=False, init=False)
    has_spoken: bool = field(default=False, init=False)
    """First words of an answer are shown."""
    is_pending: bool = field(default=True, init=False)
    """There may be something to show."""
    due_at: float = field(default=float("inf"), init=False)
    """When there will be, though no event has come."""
    ready_at: float = field(init=False)
    """From when on its next call might have gone."""
    announced: Priority = field(default=Priority.PREVIEW, init=False)
    """What its outbox knows of its worth."""
    changed_at: float | None = field(default=None, init=False)
    """Since when there has been something new to show."""
    _words_at: float | None = field(default=None, init=False)
    """When the first words of the answer came, or those in its place."""
    _opening: str = field(default="", init=False)
    _company_s: float = field(init=False)
    _part: int = field(default=0, init=False)
    _position: int = field(default=0, init=False)
    _shown: dict[int, MessageState] = field(default_factory=dict, init=False)
    _all: dict[int, MessageState] = field(default_factory=dict, init=False)
    """Of the part, those that are final, too."""
    _beginnings: int = field(default=0, init=False)
    _is_marked: bool = field(default=True, init=False)
    _stale: list[MessageState] = field(default_factory=list, init=False)
    """Messages that show nothing of the reply any more, to be deleted."""
    _uploads: list[tuple[Attachment, MessageState, int]] | None = field(default=None, init=False)
    """With their numbers, as they are recorded."""
    _known_files: dict[str, Mapping[int, str]] | None = field(default=None, init=False)
    """Of a part by its name: the messages that hold its files already, by number. None: of no part."""
    _plain: frozenset[int] = field(default=frozenset(), init=False)
    """Messages of the part whose content cannot be shown, so a sentence is."""
    _missing: Outcome | None = field(default=None, init=False)
    _file_missing: Outcome | None = field(default=None, init=False)
    """Why some words, or a file, of the part are not there."""
    _uploaded: int = field(default=0, init=False)
    _outcome: Outcome = field(default=DELIVERED, init=False)
    """Of the parts before."""
    _unrecorded: list[tuple[str, int, str]] = field(default_factory=list, init=False)
    _announcing: tuple[asyncio.Task[None], ...] = field(default=(), init=False)
    _awaited: asyncio.Task[None] | None = field(default=None, init=False)
    """The one of them that the next call waits for."""
    _recording: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _is_faulty: bool = field(default=False, init=False)
    _is_salvaged: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.served_at = self.ready_at = self.began_at
        self._company_s = min(_COMPANY_S, self.channel.limits.rate.interval_s)

    def next_job(self, now: float) -> DeliveryCall | None:
        """The next call of this reply; None where all that can be shown is shown.

        Raises:
            Exception: what is to be shown cannot be put together; `fault` says what comes of that.
        """
        if self.is_finished or now < self.not_before:
            return None
        if self.assembler.is_broken and not self._is_salvaged:
            if not self.assembler.complete:
                return None
            self._salvage()
        while self._part < len(self.assembler.parts):
            part = self.assembler.parts[self._part]
            if self._is_early(part, now):
                return None
            if part.beginnings != self._beginnings:
                self._begin_anew(part)
            if self._stale and (0 not in self._all or self._all[0].frame is not None):
                return DeliveryCall(self, self.priority, None, self._stale[0], deletes=True)
            for placed in part.messages(now, self._position):
                if placed.position in self._plain:
                    placed = replace(placed, frame=self.assembler.plain(placed.frame))
                shown = self._state(placed)
                if shown.frame != placed.frame or shown.unsure or self._fades_at(shown) <= now:
                    name = placed.answer_id or placed.named
                    if placed.position and not self._is_announced(shown, name, placed.position, None, now):
                        return None
                    return DeliveryCall(self, self._priority_of(part, placed.frame), placed, shown)
                if not placed.final:
                    return None
                self._position = placed.position + 1
                self._shown.pop(placed.position)
            if not part.ended:
                return None
            if self._uploads is None:
                self._uploads = self._uploads_of(part)
            if self._uploads:
                file, shown, number = self._uploads[0]
                if not self._is_announced(shown, part.name, FILES_FROM + number, self.reply_to, now):
                    return None
                return DeliveryCall(self, Priority.NOTICE if part.is_own else Priority.FINAL, None, shown, file)
            self._next_part(part)
        if self.assembler.complete:
            self.finish(self._outcome)
        return None

    def _is_announced(self, shown: MessageState, of: str, position: int, reply_to: str | None, now: float) -> bool:
        """Whether the message or file is there, or who goes on after a crash would know where to look for it.

        First words stand behind their question and are found there. What comes behind them, files included, waits for a
        database that is slow or away: all that nobody knows of would come again. Neither chat nor account wait with it.
        """
        if shown.message_id is not None or shown.unsure:
            return True
        name = self.channel.sending(reply_to, shown.nonce) if of else None
        if name is None:
            return True
        if shown.announcing is None:
            shown.named = name
            shown.announcing = asyncio.ensure_future(self._announce_surely(of, position, name))
            shown.announcing.add_done_callback(self._go_on)
            self._announcing = (*(each for each in self._announcing if not each.done()), shown.announcing)
        if shown.announcing.done():
            return True
        self._awaited, self.not_before = shown.announcing, now + _ANNOUNCING_LOOK_S
        return False

    def _go_on(self, announced: asyncio.Task[None]) -> None:
        if self._awaited is announced and not self.is_finished:
            self._awaited, self.not_before, self.is_pending = None, 0.0, True
            self.wake()

    async def _announce_surely(self, answer_id: str, position: int, name: str) -> None:
        await self.keep(answer_id, position, name)
        while self._unrecorded or not await self._outlives_a_crash():
            await asyncio.sleep(_ANNOUNCED_AGAIN_S)
            await self._record()

    async def _outlives_a_crash(self) -> bool:
        try:
            await self.record.recorded()
        except StorageError as error:
            log.warning("%s: a message of %s is announced later: %s", self.chat, self.name, error)
            return False
        except Exception:  # a defect of the store is no reason to say nothing more
            log.exception("%s: a message of %s goes without being announced", self.chat, self.name)
        return True

    def let_go(self) -> None:
        """Nothing is announced any more."""
        for task in self._announcing:
            task.cancel()

    def _uploads_of(self, part: Part) -> list[tuple[Attachment, MessageState, int]]:
        """The files that are not there yet, or may not be."""
        name, known = part.name or f"{self._nonce}:{self._part}", (self._known_files or {}).get(part.name, {})
        uploads = []
        for number, file in enumerate(part.attachments()):
            announced = known.get(number, "")
            if announced and not announced.startswith(SENDING):
                self._uploaded += 1
                continue
            # A longer answer's file has the same name. One of the bot's own, made again, need not have the same bytes.
            data = "" if part.is_own else blake2b(file.data, digest_size=11).hexdigest()
            shown = MessageState(self._hashed(f"{name}:{file.name}:{data}"), announced=announced, unsure=part.resumed)
            uploads.append((file, shown, number))
        return uploads

    def _begin_anew(self, part: Part) -> None:
        """The first message shows something else from now on, and those after it nothing."""
        self._beginnings = part.beginnings
        known = {shown.message_id for shown in self._stale}
        after = [shown for position, shown in self._all.items() if position and shown.message_id not in known]
        self._stale += [shown for shown in after if shown.message_id or shown.unsure]
        # What was announced and not sent is forgotten like them, or it would be taken for the answer's last message.
        unsent = [shown.named for shown in after if not (shown.message_id or shown.unsure)]
        self._stale += [MessageState("", name) for name in unsent if name and name not in known]
        self._all, self._awaited = {0: self._all[0]} if 0 in self._all else {}, None
        for shown in self._all.values():
            shown.frame = None
        self._shown = dict(self._all)
        self._position, self._plain, self._missing = 0, frozenset(), None
        self._is_marked = False

    async def supersede(self, answer_id: str, *, anew: bool = True) -> None:
        """To be awaited before an event is taken that begins the answer `anew`: what to delete outlives a crash.

        Otherwise only what an earlier run has superseded, and did not live to delete, is remembered.
        """
        try:
            if anew:
                await self.record.supersede(self.chat, answer_id)
            known = {shown.message_id for shown in self._stale}
            found = [each for each in await self.record.superseded(self.chat, answer_id) if each not in known]
        except Exception:
            log.exception("%s: it is not known which messages of %s are to be deleted", self.chat, answer_id)
            return
        self._stale += [MessageState("", message_id) for message_id in found]

    async def recall(self, name: str) -> Sequence[str]:
        """The messages that show the part of that name already, from before a restart; its files are known now, too."""
        try:
            delivered = await self.record.delivered(self.chat, name)
        except Exception:
            log.exception("%s: it is not known what of %s was said", self.chat, name)
            return ()
        if delivered.files:
            self._known_files = {**(self._known_files or {}), name: delivered.files}
        return delivered.message_ids

    async def forget_files(self, name: str) -> None:
        """Those of the part as it was: it has become longer, and has others."""
        try:
            for file_id in (await self.record.delivered(self.chat, name)).files.values():
                await self.record.forget_delivery(self.chat, file_id)
        except Exception:
            log.exception("%s: the files of %s are taken for new after a restart", self.chat, name)

    async def mark_superseded(self) -> None:
        """Once more, for a message that was on its way: before any that is to stay has come after the first one."""
        if not self._is_marked:
            self._is_marked = True
            await self._record()  # what is about to be recorded is superseded, too
            await self.record.supersede(self.chat, self.assembler.parts[self._part].name)

    def leave_stale(self) -> None:
        """It cannot be deleted."""
        self._stale.pop(0)

    async def deleted(self, message_id: str | None) -> None:
        self._stale.pop(0)
        if message_id is not None:
            await self.record.forget_delivery(self.chat, message_id)

    @property
    def priority(self) -> Priority:
        """What its next call is worth, as far as can be told without making a frame."""
        part = self.assembler.parts[self._part] if self._part < len(self.assembler.parts) else None
        if part is None:
            return Priority.FINAL if self.assembler.complete else Priority.PREVIEW
        if part.is_own or part.is_refusal:
            return _of_own(part)
        if part.ended:
            return Priority.FINAL
        return Priority.FIRST if self._words_at is not None and not self.has_spoken else Priority.PREVIEW

    @property
    def waits_since(self) -> float:
        """Since when its next call waits."""
        return max(self.served_at, self._words_at or self.served_at)

    def _priority_of(self, part: Part, frame: Frame) -> Priority:
        if part.is_own or part.is_refusal:
            return _of_own(part)
        if part.ended:
            return Priority.FINAL
        return Priority.PREVIEW if self.has_spoken or not frame.markdown else Priority.FIRST

    def _is_early(self, part: Part, now: float) -> bool:
        """Whether better words than those that there are may come in a moment; told without making a frame."""
        if self.has_spoken or part.is_own or part.ended:
            return False
        if self._words_at is None:
            return not self.visible and now < self.began_at + _PLACEHOLDER_AFTER_S
        is_short = len(self._opening.split(None, _FIRST_WORDS)) < _FIRST_WORDS
        return is_short and now < self._words_at + self._company_s

    def _next_part(self, part: Part) -> None:
        in_files = part.files_hold_all and self._uploaded and self._file_missing is None
        if self._missing is not None and not in_files:
            self._outcome = self._missing
        elif self._file_missing is not None and part.files_hold_all:
            self._outcome = self._file_missing
        self._part, self._position, self._uploads, self._uploaded = self._part + 1, 0, None, 0
        self._all, self._beginnings = {}, 0
        self._plain, self._missing, self._file_missing = frozenset(), None, None

    def close(self, now: float) -> None:
        """There will be no more events."""
        self.assembler.close(now)
        self.is_pending = True
        self.look(now)

    def overtake(self) -> None:
        """What it shows is old already: a newer reply shows it, unless a call of this one is on its way."""
        if not self.in_flight and not self.visible and not self.failures:
            self.finish(DELIVERED)

    def look(self, now: float) -> None:
        """Finishes the reply as soon as everything is there, without waiting until the chat may be written to again."""
        if self.assembler.complete and not self.in_flight:
            try:
                self.next_job(now)
            except Exception:
                self.fault(now)

    def fault(self, now: float) -> None:
        """To be called in the handler of what `next_job` raised. The next frame may do; the last one is made plain."""
        (log.debug if self._is_faulty else log.exception)("%s: a frame of %s cannot be made", self.chat, self.name)
        self._is_faulty = True
        if not self.assembler.complete:
            self.not_before = now + _FAULT_PAUSE_S
        elif self._is_salvaged:
            self.finish(Outcome(Ending.LEFT, "what it says cannot be put together"))
        else:
            self._salvage()

    def _salvage(self) -> None:
        self._is_salvaged = True
        self.assembler.salvage(self._part, self._position)
        self._uploads = None

    @property
    def name(self) -> str:
        """For the log."""
        return next((part.name for part in self.assembler.parts if part.name), self._nonce)

    def typing_due(self) -> float:
        """When "typing" should be shown (again); it never is where the platform has none or a message is there."""
        every = self.channel.limits.typing_s
        if not every or self.visible or self.assembler.complete or self.is_finished:
            return float("inf")
        return max(self.began_at + _TYPING_AFTER_S, self.typed_at + every)

    def waits(self, now: float) -> None:
        """To be called where `next_job` had nothing to make."""
        self.is_pending, self.changed_at = False, None
        part = self.assembler.parts[self._part] if self._part < len(self.assembler.parts) else None
        changes_at = part.changes_at(now) if part else None
        times = [float("inf") if changes_at is None else changes_at, *map(self._fades_at, self._shown.values())]
        times.append(self.not_before)
        if self._words_at is not None and not self.has_spoken:
            times.append(self._words_at + self._company_s)
        if part and not self.visible:
            times.append(self.began_at + _PLACEHOLDER_AFTER_S)
        self.due_at = min((time for time in times if time > now), default=float("inf"))

    def _fades_at(self, shown: MessageState) -> float:
        """When a growing message has to be shown again."""
        lasts_s = self.channel.limits.growing_s
        return shown.at + lasts_s if lasts_s and shown.frame and shown.frame.growing else float("inf")

    def take(self, event: ReplyEvent, now: float, known_ids: Sequence[str] = ()) -> None:
        self.assembler.apply(event, now, known_ids)
        self.is_pending = True
        if self.changed_at is None:
            self.changed_at = now
        if self._words_at is None and isinstance(event, Failed):
            self._words_at = now
        if not self.has_spoken and isinstance(event, TextDelta | CaptionReady):
            self._opening = (self._opening + event.text)[:_OPENING]
            if self._words_at is None and self._opening.strip():
                self._words_at = now

    def finish(self, outcome: Outcome) -> None:
        """The first outcome counts."""
        self.outcome = self.outcome or outcome
        if not self.finished.done():
            self.finished.set_result(None)

    @property
    def is_finished(self) -> bool:
        return self.outcome is not None

    async def keep(self, answer_id: str, position: int, message_id: str) -> None:
        """Records where a part of it is visible. What is on the platform is there, whatever the storage says."""
        if answer_id:
            self._unrecorded.append((answer_id, position, message_id))
        await self._record()

    async def _record(self) -> None:
        # The call that has sent a message may still record it when the reply is given up and recorded as a whole.
        async with self._recording:
            while self._unrecorded:
                try:
                    await self.record.record_delivery(self.chat, *self._unrecorded[0])
                except StorageError as error:
                    log.warning("%s: a message of %s is recorded later: %s", self.chat, self.name, error)
                    return
                except Exception:
                    log.exception("%s: a message of %s is recorded later", self.chat, self.name)
                    return
                self._unrecorded.pop(0)

    async def record_outcome(self) -> None:
        """A repeated event needs nothing more, unless the reply is left."""
        await self._record()
        names = [part.name for part in self.assembler.parts if part.name]
        for name in names if self.outcome and self.outcome.is_settled else ():
            try:
                await self.record.record_shown(self.chat, name)
            except Exception:
                log.exception("%s: it is not recorded that %s is shown", self.chat, name)

    async def keep_upload(self, message_id: str) -> None:
        """Records where the next file is, unless it was added to a message with text, which is recorded as that."""
        part = self.assembler.parts[self._part]
        if self._uploads and message_id not in {shown.message_id for shown in self._all.values()}:
            await self.keep(part.name, FILES_FROM + self._uploads[0][2], message_id)

    def uploaded(self, why_not: Outcome | None = None) -> None:
        self._file_missing = self._file_missing or why_not
        self._uploaded += 1
        if self._uploads:
            self._uploads.pop(0)

    def refuse(self, position: int, why: Outcome) -> None:
        """A final message cannot be shown: a sentence takes its place, and a file follows where there are files."""
        self.assembler.parts[self._part].refused = True
        self._plain |= {position}
        self._missing = why

    def _state(self, placed: Placed) -> MessageState:
        shown = self._shown.get(placed.position)
        if shown is None:
            key = placed.answer_id or placed.named or f"{self._nonce}:{self._part}"
            name = f"{key}:{placed.position}{placed.series}"
            shown = self._shown[placed.position] = MessageState(self._hashed(name), placed.known_id)
            self._all[placed.position] = shown
            # A message that an earlier run sent and did not live to record is looked for before it is sent again.
            shown.unsure = placed.known_id is None and self.assembler.parts[self._part].resumed
            self.visible |= placed.known_id is not None
        if placed.settled:
            shown.frame = placed.frame
        return shown

    def _hashed(self, name: str) -> str:
        """A nonce of at most 25 characters, as Discord wants it; the same for the same message after a restart."""
        return blake2b(f"{self.chat}:{name}".encode("utf-8", "replace"), digest_size=11).hexdigest()


def _of_own(part: Part) -> Priority:
    return Priority.REFUSAL if part.is_refusal else Priority.NOTICE


@dataclass(frozen=True, slots=True)
class DeliveryCall:
    """One call for a reply: to show a frame, to upload a file, or to delete a message."""

    reply: Delivery
    priority: Priority
    placed: Placed | None
    shown: MessageState
    file: Attachment | None = None
    deletes: bool = False

    @property
    def is_edit(self) -> bool:
        """Of a message that is there."""
        return self.shown.message_id is not None

    async def call(self) -> None:
        if self.deletes:
            await self._delete()
        elif self.placed:
            await self._show(self.placed)
        elif self.file:
            await self._upload(self.file)

    async def _show(self, placed: Placed) -> None:
        reply, shown = self.reply, self.shown
        if shown.message_id is None and not await self._was_sent_after_all():
            await self._announce(self._reply_to(placed), lambda name: self._keep(placed, name))
            sent = await reply.channel.send(placed.frame, reply_to=self._reply_to(placed), nonce=shown.nonce)
            await self._sent(sent, placed.frame)
        elif shown.message_id is not None:
            renamed = await reply.channel.edit(shown.message_id, placed.frame)
            if renamed is not None:
                await self._sent(renamed, placed.frame)
            shown.frame, shown.unsure, shown.at = placed.frame, False, reply.served_at
        reply.has_spoken |= bool(placed.frame.markdown) and not placed.frame.notice
        shown.faults = 0

    async def _announce(self, reply_to: str | None, keep: Callable[[str], Awaitable[None]]) -> None:
        """Who goes on after a crash should know where to look for the message. A slow database delays nothing here.

        What was announced for certain is announced once more if other messages came meanwhile: it is looked for near
        the newest of those that were there before it.
        """
        name = self.reply.channel.sending(reply_to, self.shown.nonce)
        if name is not None and name != self.shown.named:
            self.shown.named = name
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANNOUNCED_WITHIN_S):
                    await keep(name)

    async def _keep(self, placed: Placed, message_id: str) -> None:
        await self.reply.keep(placed.answer_id or placed.named, placed.position, message_id)

    async def _upload(self, file: Attachment) -> None:
        if not await self._was_sent_after_all():
            await self._announce(self.reply.reply_to, self.reply.keep_upload)
            sent = await self.reply.channel.upload(
                file.name, file.data, reply_to=self.reply.reply_to, nonce=self.shown.nonce, private=file.private
            )
            await self.reply.keep_upload(sent)
        self.reply.uploaded()

    async def _delete(self) -> None:
        await self.reply.mark_superseded()
        channel, shown = self.reply.channel, self.shown
        found = shown.message_id or (await channel.find(shown.nonce) if shown.unsure else None)
        try:
            if found is not None:
                await channel.delete(found)
        except MessageGone:
            pass
        except (Forbidden, Rejected) as error:
            log.info("%s: a message that is over cannot be deleted: %s", self.reply.chat, error)
            await self._close(found or "")
        await self.reply.deleted(found)

    async def _close(self, message_id: str) -> None:
        """Leave the message, which cannot be deleted, without a word that is wrong and without a button."""
        try:
            await self.reply.channel.edit(message_id, self.reply.assembler.superseded())
        except MessageGone:
            pass
        except (Forbidden, Rejected) as error:
            log.warning("%s: a message that is over stays as it is: %s", self.reply.chat, error)

    async def _was_sent_after_all(self) -> bool:
        """Whether an earlier attempt went through; where that is not known, one more look precedes another attempt."""
        if not self.shown.unsure:
            return False
        try:
            found = await self.reply.channel.find(self.shown.announced or self.shown.nonce)
        except (MessageGone, Rejected) as error:  # said of the look, and not of the message
            raise UnknownOutcome(f"it cannot be looked for: {error}") from error
        if found is None:
            # What this process sends from now on is looked for by its nonce.
            self.shown.unsure, self.shown.announced = False, ""
            if self.file or (self.placed and self.placed.position):
                raise Later(0.0)  # it was thought to be there; it is announced first
            return False
        await self._sent(found, None)
        return True

    async def _sent(self, message_id: str, frame: Frame | None) -> None:
        self.shown.message_id, self.shown.frame, self.shown.unsure = message_id, frame, False
        self.shown.at = self.reply.served_at
        self.reply.visible = True
        if self.placed:
            await self._keep(self.placed, message_id)
        else:
            await self.reply.keep_upload(message_id)

    def _reply_to(self, placed: Placed) -> str | None:
        return None if placed.position else self.reply.reply_to

    def unknown(self) -> None:
        self.shown.unsure = self.shown.message_id is None
        self.shown.frame = None

    def failed(self, why: str) -> None:
        """An unforeseen failure: it may have been done. What fails again and again is left out."""
        self.unknown()
        self.shown.faults += 1
        if self.shown.faults >= _MOST_FAULTS:
            self.rejected(Outcome(Ending.LEFT, why))

    def rejected(self, why: Outcome) -> None:
        """What this call was for cannot be shown; what comes after it can."""
        if self.deletes:
            self.reply.leave_stale()
        elif self.placed:
            self.shown.frame, self.shown.unsure, self.shown.faults = self.placed.frame, False, 0
            if self.placed.final:
                self.reply.refuse(self.placed.position, why)
        elif self.file:
            self.reply.uploaded(why)
