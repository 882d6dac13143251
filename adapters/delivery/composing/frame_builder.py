"""What to show now: reply events become frames, one for each message of the reply.

Pure: every method takes `now`, in seconds of one monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Protocol

from adapters.delivery.channel import SENDING, Frame, Limits, ThinkingView
from adapters.delivery.composing.attachments import Attachment, text_file, whole_answer, whole_file
from adapters.delivery.composing.chunker import Chunk, Chunker
from adapters.delivery.composing.thinking import Reasoning
from adapters.delivery.phrases import Phrases
from bots.messages import (
    Action,
    Attached,
    CaptionReady,
    Ended,
    Failed,
    Notice,
    QueueUpdate,
    Relabelled,
    ReplyEvent,
    Started,
    TextDelta,
    ThinkingDelta,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame and where it belongs: message number `position` of the answer ("" for the bot's own words).

    A `final` frame will not change any more.
    """

    answer_id: str
    position: int
    frame: Frame
    final: bool
    known_id: str | None = None
    """The message that an earlier run made for it."""
    settled: bool = False
    """An earlier run has shown it for good."""
    series: str = ""
    """Tells its messages apart from those that were there before the answer began anew; the same after a restart."""
    named: str = ""
    """What names the bot's own words, so that an earlier run's are found."""


class Part(Protocol):
    """An answer or a notice: one or more messages, which come after those of the parts before it."""

    refused: bool
    """Set by who delivers: the platform does not take one of the final messages."""
    is_own: bool
    """The bot's own words, and no answer."""
    is_refusal: bool
    """It only says why there is nothing, as far as is known."""
    beginnings: int
    """How often its messages began anew: they show something else, and those after the first one are to be deleted."""

    @property
    def name(self) -> str:
        """The same after a restart: the answer's id, or that of the words; "" where there is none."""
        ...

    @property
    def ended(self) -> bool:
        """Whether all its messages are final."""
        ...

    @property
    def resumed(self) -> bool:
        """Whether an earlier process may have begun it, and sent more than it lived to record."""
        ...

    def messages(self, now: float, first: int) -> list[Placed]:
        """What its messages from number `first` on should look like now; all before the last one are final."""
        ...

    def changes_at(self, now: float) -> float | None:
        """When it will look different though no event has come: a counter of seconds."""
        ...

    def attachments(self) -> Iterator[Attachment]:
        """The files that come after its messages, once it has ended."""
        ...

    @property
    def files_hold_all(self) -> bool:
        """Whether nothing is lost where the files arrive and a message does not."""
        ...


class FrameBuilder:
    """Collects the events of one reply into `parts`."""

    def __init__(self, limits: Limits, measure: Callable[[Frame], int], phrases: Phrases) -> None:
        self.parts: list[Part] = []
        self.complete = False
        """No part will be added, and all have ended."""
        self.is_broken = False
        """The parts cannot be trusted: what was said is to be shown plainly, when it is over."""
        self._limits, self._measure, self._phrases = limits, measure, phrases
        self._answer: Answer | None = None
        self._words = StringIO()
        """Of the answer, as they came."""
        self._captions = ""
        self._end: Ended | Failed | None = None

    def apply(self, event: ReplyEvent, now: float, known_ids: Sequence[str] = ()) -> None:
        """Never raises; what cannot be taken breaks the parts.

        Args:
            known_ids: messages of an earlier run that hold the bot's own words.
        """
        if isinstance(event, TextDelta):  # most are
            self._words.write(event.text)
        else:
            self._note(event)
        if self.is_broken:
            return
        try:
            self._apply(event, now, known_ids)
        except Exception:
            log.exception("a reply goes on as plain text")
            self.is_broken = True

    def close(self, now: float) -> None:
        """There will be no more events."""
        if self._answer and not self._answer.ended and not self.is_broken:
            self.apply(Failed(self._phrases.broken()), now)
        self.complete = True

    def plain(self, frame: Frame) -> Frame:
        """In place of a message that cannot be shown as it is."""
        sentence = self._phrases.broken() if frame.notice else self._phrases.unshown()
        return replace(frame, markdown="", status="", thinking=None, failure=frame.failure or sentence)

    def superseded(self) -> Frame:
        """In place of a message that shows nothing of the answer any more; without buttons."""
        return Frame(status=self._phrases.superseded())

    def salvage(self, part: int, position: int) -> None:
        """Puts what was said plainly in place of the parts from that one on, beginning with that message."""
        broken = self.parts[part] if part < len(self.parts) else None
        if broken is None or broken.is_own:
            position = 0
        self.parts[part:] = [Plain(broken, position, self._words.getvalue(), self._end, self._limits, self._phrases)]

    def _apply(self, event: ReplyEvent, now: float, known_ids: Sequence[str]) -> None:
        if isinstance(event, TextDelta) and self._answer and self._answer.says(event.text):
            return  # one of thousands
        if isinstance(event, Notice | Attached):
            self.parts.append(Note(event, self._limits, self._measure, known_ids))
            return
        if not self._answer or self._answer.ended or isinstance(event, Started):
            if self._answer and not self._answer.ended:
                self._answer.apply(Failed(self._phrases.broken()), now)
            before = sum(len(part.messages(now, 0)) for part in self.parts) if self._limits.most_messages else 0
            self._answer = Answer(self._limits, self._measure, self._phrases, before)
            self.parts.append(self._answer)
        self._answer.apply(event, now)

    def _note(self, event: ReplyEvent) -> None:
        match event:
            case Started(text=text):
                self._words.write(text)
            case CaptionReady(text):
                self._captions += f"> {text}\n\n"
                self._words.write(f"> {text}\n\n")
            case Relabelled():
                self._words = StringIO()
                self._words.write(self._captions)
            case Ended() | Failed():
                self._end = event


class Plain:
    """An answer that cannot be put together: a sentence, and the words as a file; as they are, where none is taken."""

    ended, refused, is_own, is_refusal, files_hold_all, beginnings = True, False, False, False, True, 0

    def __init__(
        self, broken: Part | None, first: int, words: str, end: Ended | Failed | None, limits: Limits, phrases: Phrases
    ) -> None:
        self.name = broken.name if broken else ""
        self.resumed = broken.resumed if broken else False
        self._answer_id = "" if broken is None or broken.is_own else broken.name
        self._words, self._first, self._limits = words.strip(), first, limits
        is_own = broken is not None and broken.is_own
        sentence = phrases.broken() if is_own or not self._words else phrases.unshown()
        sentence = end.sentence if isinstance(end, Failed) else sentence
        self._frames = [Frame(failure=sentence, actions=end.actions if end else (), private=is_own)]
        if not limits.upload_bytes:
            size = max(1, limits.message_units // 4)
            pieces = [self._words[at : at + size] for at in range(0, len(self._words), size)]
            self._frames += [Frame(failure=piece) for piece in pieces if piece.strip()]

    def messages(self, now: float, first: int) -> list[Placed]:
        placed = [
            Placed(self._answer_id, self._first + n, frame, final=True, named=self.name)
            for n, frame in enumerate(self._frames)
        ]
        return placed[max(0, first - self._first) :]

    def changes_at(self, now: float) -> None:
        return None

    def attachments(self) -> Iterator[Attachment]:
        if self._limits.upload_bytes and self._words:
            yield from text_file("answer", "md", self._words, self._limits.upload_bytes)


class Note:
    """The bot's own words or file, complete in themselves."""

    ended, is_own, files_hold_all, beginnings = True, True, False, 0

    def __init__(
        self,
        note: Notice | Attached,
        limits: Limits,
        measure: Callable[[Frame], int],
        known_ids: Sequence[str] = (),
    ) -> None:
        self.is_refusal = isinstance(note, Notice) and note.refused
        self.refused = False
        self._known_ids = known_ids
        self.name, self.resumed = note.id, note.again
        text, self._files = note.text, list[Attachment]()
        private = note.private and limits.private_files
        if note.private and note.otherwise and not private:
            text = note.otherwise
        elif isinstance(note, Attached) and limits.upload_bytes:
            self._files = list(whole_file(note.name, note.data, limits.upload_bytes, private))
        elif isinstance(note, Attached):
            text = note.otherwise or text

        def frame(markdown: str) -> Frame:
            return Frame(markdown=markdown, notice=True, private=note.private)

        chunker = Chunker(lambda _: limits.message_units, lambda markdown: measure(frame(markdown)))
        chunker.feed(text)
        chunker.finish()
        self._frames = [frame(chunk.markdown) for chunk in (*chunker.frozen, chunker.live()) if chunk.markdown.strip()]

    def messages(self, now: float, first: int) -> list[Placed]:
        return [self._placed(first + n, frame) for n, frame in enumerate(self._frames[first:])]

    def _placed(self, position: int, frame: Frame) -> Placed:
        """What an earlier run has shown is complete as it is."""
        known = self._known_ids[position] if position < len(self._known_ids) else None
        settled = known is not None and not known.startswith(SENDING)
        return Placed("", position, frame, True, known, settled=settled, named=self.name)

    def changes_at(self, now: float) -> None:
        return None

    def attachments(self) -> Iterator[Attachment]:
        return iter(self._files)


class Answer:
    """One streamed answer: placeholder, reasoning, growing text, end."""

    is_own = False

    def __init__(
        self, limits: Limits, measure: Callable[[Frame], int], phrases: Phrases, messages_before: int = 0
    ) -> None:
        self.refused = False
        self.is_refusal = False
        self.beginnings = 0
        self._limits, self._measure, self._phrases = limits, measure, phrases
        self._messages_before = messages_before
        self._again = False
        self._reserve = min(256, limits.message_units // 8)
        """Room in each message for what is not the answer: a cursor, the footer."""
        self._id = ""
        self._known_ids: tuple[str, ...] = ()
        self._waiting: QueueUpdate | None = None
        self._captions: list[CaptionReady] = []
        self._end: Ended | Failed | None = None
        self._reasoning = Reasoning(limits, measure, phrases)
        self._chunker = Chunker(self._room, lambda markdown: measure(Frame(markdown=markdown)))
        self._begun, self._begun_at = False, 0.0
        self._frozen: list[Chunk] = []
        """Those with something to see: a message of nothing but white space cannot be sent."""
        self._seen = 0

    @property
    def ended(self) -> bool:
        return self._end is not None

    @property
    def name(self) -> str:
        return self._id

    @property
    def resumed(self) -> bool:
        return self._again

    def apply(self, event: ReplyEvent, now: float) -> None:
        match event:
            case Started():
                self._id, self._known_ids = event.answer_id, event.message_ids
                self._again = event.again
                self._captions = [CaptionReady(text, n, len(event.captions)) for n, text in enumerate(event.captions)]
                self._reasoning.mode = event.thinking_mode
                self._reasoning.recall(event.thinking)
                if event.text:
                    self._say(event.text, now)
                    self._chunker.finish()
            case QueueUpdate():
                self._waiting = event
            case ThinkingDelta():
                self._reasoning.add(event.text, now)
            case TextDelta():
                self._say(event.text, now)
            case Relabelled():
                self._relabel(now)
            case CaptionReady():
                self._reasoning.finish(now)
                self._captions.append(event)
            case Ended() | Failed():
                self._finish(event, now)
            case Notice() | Attached():
                raise TypeError("a notice is a part of its own")

    def says(self, text: str) -> bool:
        """Takes more text of an answer whose text has begun; False for any other."""
        if self._begun and not self.ended:
            self._chunker.feed(text)
            return True
        return False

    def messages(self, now: float, first: int) -> list[Placed]:
        chunks = self._chunker.frozen
        self._frozen += [chunk for chunk in chunks[self._seen :] if chunk.markdown.strip()]
        self._seen = len(chunks)
        placed = [
            self._placed(n, Frame(markdown=self._frozen[n].markdown, thinking=None if n else self._thought(now)), True)
            for n in range(first, len(self._frozen) if self._most is None else min(len(self._frozen), self._most - 1))
        ]
        if self._is_capped:
            position = (self._most or 1) - 1
            frame = self._last_frame(now, position)
            return [*placed, self._placed(position, frame, self.ended)] if first <= position else placed
        position = len(self._frozen)
        for frame in self._live_frames(now, is_first=position == 0) if first <= position else ():
            placed.append(self._placed(position, frame, self.ended))
            position += 1
        return placed

    @property
    def _most(self) -> int | None:
        """How many messages the answer may have in all; None for any number.

        Those that it has are there to be edited. Of what an earlier run has sent, nobody knows how much counts.
        """
        if not self._limits.most_messages:
            return None
        own, known = max(1, self._limits.most_messages - self._messages_before), len(self._known_ids)
        return max(known, own) if self._again else max(0, known - 1) + own

    @property
    def _is_capped(self) -> bool:
        """The last message that there may be is full: what comes now is in the file alone."""
        return self._most is not None and len(self._frozen) >= self._most

    def _last_frame(self, now: float, position: int) -> Frame:
        thinking = None if position else self._thought(now)
        markdown, status = self._frozen[position].markdown, self._phrases.rest_in_file(self.ended)
        if not self.ended:
            return Frame(markdown=markdown, status=status, thinking=thinking, growing=True, actions=(Action.STOP,))
        return self._fitted(replace(self._ended_frame(markdown, thinking), status=status))

    def _fitted(self, frame: Frame) -> Frame:
        """Where there is no other message for it, small print that has no room is left out."""
        return frame if self._measure(frame) <= self._limits.message_units else replace(frame, footer="")

    def changes_at(self, now: float) -> float | None:
        return None if self.ended else self._reasoning.changes_at(now)

    def attachments(self) -> Iterator[Attachment]:
        largest = self._limits.upload_bytes
        if not largest:
            return
        if self.refused or self._is_capped or len(self._frozen) + 1 > self._limits.max_chunks:
            yield from whole_answer(self.text(), largest)
        if self._reasoning.wants_file():
            yield from text_file("thinking", "md", self._reasoning.text, largest)

    @property
    def files_hold_all(self) -> bool:
        return self.refused or self._is_capped

    def text(self) -> str:
        """The whole answer as it is shown, captions included."""
        return "".join(chunk.source for chunk in (*self._chunker.frozen, self._chunker.live()))

    def _placed(self, position: int, frame: Frame, final: bool) -> Placed:
        known = self._known_ids[position] if position < len(self._known_ids) else None
        settled = position < len(self._known_ids) - 1
        # Where an answer began anew there is reasoning, which was text before.
        series = ":behind reasoning" if position and self._reasoning.text else ""
        return Placed(self._id, position, frame, final, known, settled=settled, series=series)

    def _room(self, index: int) -> int:
        return self._limits.message_units - self._reserve - (0 if index else self._reasoning.units)

    def _relabel(self, now: float) -> None:
        """The text so far was reasoning. Its messages are used up where there may not be any number of them."""
        if not self._begun:
            return
        said, quoted = self.text(), len(self._quotes())
        self._messages_before += max(0, len(self.messages(now, 0)) - 1)
        self.beginnings += 1
        self.refused = self._begun = False
        self._frozen, self._seen = [], 0
        self._known_ids = self._known_ids[:1]
        self._reasoning.add(said[quoted:], self._begun_at)
        self._reasoning.finish(now)

    def _quotes(self) -> str:
        quotes = "".join(f"> {caption.text}\n" for caption in self._captions)
        return quotes + "\n" if quotes else ""

    def _say(self, text: str, now: float) -> None:
        if not self._begun:
            self._begin(now)
            self._chunker.feed(self._quotes())
        self._chunker.feed(text)

    def _begin(self, now: float) -> None:
        """The first text is here: how much room the reasoning takes in the first message is settled now."""
        self._begun, self._begun_at = True, now
        self._reasoning.finish(now)
        self._reasoning.settle()
        self._chunker = Chunker(self._room, lambda markdown: self._measure(Frame(markdown=markdown)))

    def _finish(self, event: Ended | Failed, now: float) -> None:
        nothing = not (self._begun or self._captions or self._reasoning.text)
        self.is_refusal = isinstance(event, Failed) and nothing
        if not self._begun:
            self._begin(now)
            self._chunker.feed(self._plain_captions())
        self._chunker.finish()
        self._end = event
        if isinstance(event, Ended):
            room = 0 if self._chunker.frozen else self._limits.message_units - self._own_units()
            self._reasoning.reveal(event.thinking, room)

    def _plain_captions(self) -> str:
        listed = any(caption.count > 1 for caption in self._captions)
        lines = [f"{c.index + 1}. {c.text}" if listed else c.text for c in self._captions]
        return "\n".join(lines)

    def _thought(self, now: float) -> ThinkingView | None:
        return self._reasoning.view(now, self.ended or self._begun)

    def _own_units(self) -> int:
        frame = self._ended_frame(self._chunker.live().markdown, None)
        return self._measure(frame)

    def _live_frames(self, now: float, is_first: bool) -> Iterator[Frame]:
        thinking = self._thought(now) if is_first else None
        markdown = self._chunker.live().markdown if self._begun else self._growing_captions()
        if not markdown.strip():
            markdown = ""
        if not self.ended:
            status = "" if markdown or thinking else self._status()
            yield Frame(markdown=markdown, status=status, thinking=thinking, growing=True, actions=(Action.STOP,))
            return
        whole = self._ended_frame(markdown, thinking)
        if is_first and not (markdown or whole.failure):
            whole = self._empty_frame(whole)
        if not markdown or self._measure(whole) <= self._limits.message_units:
            yield whole
        elif self._most is not None and len(self._frozen) + 1 >= self._most:
            yield self._fitted(whole)
        else:
            yield Frame(markdown=markdown, thinking=thinking)
            yield self._ended_frame("", None)

    def _status(self) -> str:
        if self._waiting and self._waiting.loading:
            return self._phrases.loading(self._waiting.loading)
        if self._waiting:
            return self._phrases.waiting(self._waiting.position, self._waiting.eta_s)
        return self._phrases.starting()

    def _growing_captions(self) -> str:
        captions = Chunker(self._room, lambda markdown: self._measure(Frame(markdown=markdown)))
        captions.feed(self._plain_captions())
        captions.finish()
        return (captions.frozen or [captions.live()])[0].markdown

    def _ended_frame(self, markdown: str, thinking: ThinkingView | None) -> Frame:
        match self._end:
            case Ended():
                footer = self._phrases.footer(self._end)
                return Frame(markdown=markdown, thinking=thinking, footer=footer, actions=self._end.actions)
            case Failed(sentence, actions):
                return Frame(markdown=markdown, thinking=thinking, failure=sentence, actions=actions)
            case None:
                return Frame(markdown=markdown, thinking=thinking)

    def _empty_frame(self, frame: Frame) -> Frame:
        status = self._phrases.empty(self._end) if isinstance(self._end, Ended) else ""
        return Frame(status=status, thinking=frame.thinking, footer=frame.footer, actions=frame.actions)
