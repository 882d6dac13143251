"""What one answer took, told by its events."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bots.messages import CaptionReady, Ended, Failed, ReplyEvent, TextDelta, ThinkingDelta
from bots.profile.histograms import bucket
from bots.profile.personal import Sample, Spent, Used

_CHARACTERS_A_TOKEN = 4
"""For an answer that was given up before its tokens were told."""


def day_of(now: float) -> str:
    """The date in UTC of a time in seconds since the epoch."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


@dataclass(slots=True)
class Tally:
    """What of one answer's events counts for a person. Its `bill` is given out once."""

    person: str
    now: Callable[[], float]
    captions: int = 0
    _characters: int = 0
    _ended: Ended | None = None
    _is_billed: bool = False

    def take(self, event: ReplyEvent) -> None:
        match event:
            case CaptionReady():
                self.captions += 1
            case TextDelta(text) | ThinkingDelta(text):
                self._characters += len(text)
            case Ended():
                self._ended = event

    def bill(self, ending: Ended | Failed | None = None) -> Spent | None:
        """What is to be counted, with the ending if there is one; None for nothing, or when that was billed before."""
        if isinstance(ending, Ended):
            self._ended = ending
        now, used = self.now(), self._used()
        if self._is_billed or used == Used():
            return None
        self._is_billed = True
        return Spent(person=self.person, day=day_of(now), used=used, marks=tuple(self._marks(now)))

    def take_back(self) -> None:
        """The bill could not be paid."""
        self._is_billed = False

    def _used(self) -> Used:
        if self._ended is None:
            return Used(tokens=math.ceil(self._characters / _CHARACTERS_A_TOKEN), captions=self.captions)
        usage, timings = self._ended.usage, self._ended.timings
        return Used(
            answers=1,
            tokens=usage.completion_tokens + usage.thinking_tokens,
            captions=self.captions,
            seconds=max(0.0, timings.total_s - timings.queued_s),
        )

    def _marks(self, now: float) -> list[Sample]:
        if self._ended is None:
            return []
        marks = [Sample("hour", datetime.fromtimestamp(now, UTC).hour)]
        timings = self._ended.timings
        if timings.time_to_first_token_s is not None:
            marks.append(Sample("first_token", bucket(timings.time_to_first_token_s)))
            marks.append(Sample("queue", bucket(timings.queued_s)))
        return marks
