"""The thinking beside an answer: a live line with the seconds, the text as far as it is wanted and fits."""

from __future__ import annotations

from collections.abc import Callable

from adapters.delivery.channel import Frame, Limits, ThinkingView
from adapters.delivery.phrases import Phrases
from bots.messages import ThinkingMode


class Reasoning:
    """The thinking beside an answer: a live line with the seconds, the text as far as it is wanted and fits."""

    def __init__(self, limits: Limits, measure: Callable[[Frame], int], phrases: Phrases) -> None:
        self.text = ""
        self.units = 0
        """The room that it takes beside the text of the first message."""
        self.mode: ThinkingMode = "show"
        self._limits, self._measure, self._phrases = limits, measure, phrases
        self._began: float | None = None
        self._seconds: float | None = None
        self._shown = ""

    def recall(self, text: str) -> None:
        """Takes what an earlier run has thought; how long that took is not known any more."""
        self.text = text
        self._seconds = 0.0 if text else None

    def add(self, text: str, now: float) -> None:
        if self._began is None:
            self._began = now
        self.text += text

    def finish(self, now: float) -> None:
        if self._began is not None and self._seconds is None:
            self._seconds = now - self._began

    def settle(self) -> None:
        """Decides what is shown beside the answer while it grows."""
        if self.text:
            self._shown = self._fitting(self.text, self._limits.message_units // 2) if self.mode == "show" else ""
            self.units = self._units(self._shown)

    def reveal(self, mode: ThinkingMode, room: int) -> None:
        """The answer has ended in `mode`; `room` units are left in the message that shows the reasoning."""
        self.mode = mode
        if mode != "show":
            self._shown = ""
        elif self.text and self._units(self.text) <= room:
            self._shown = self.text

    def wants_file(self) -> bool:
        return bool(self.text.strip()) and (self.mode == "file" or (self.mode == "show" and self._shown != self.text))

    def view(self, now: float, over: bool) -> ThinkingView | None:
        if not self.text:
            return None
        over = over or self._seconds is not None
        text = self._shown if over else ""
        if not over and self.mode == "show":
            text = self._fitting(self.text, self._limits.message_units * 3 // 4)
        return self._view(text, self._elapsed(now), over)

    def changes_at(self, now: float) -> float | None:
        if self._began is None or self._seconds is not None:
            return None
        return self._began + self._elapsed(now) + _step(now - self._began)

    def _elapsed(self, now: float) -> float:
        if self._seconds is not None or self._began is None:
            return float(round(self._seconds or 0))
        seconds = now - self._began
        return float(seconds // _step(seconds) * _step(seconds))

    def _view(self, text: str, seconds: float, done: bool) -> ThinkingView:
        return ThinkingView(text, seconds, done, self._phrases.thinking(seconds, done))

    def _units(self, text: str) -> int:
        beside = Frame(markdown="x", thinking=self._view(text, 1000, True))
        return self._measure(beside) - self._measure(Frame(markdown="x"))

    def _fitting(self, text: str, room: int) -> str:
        """The text, or as much of its end as fits."""
        length = len(text)
        if length <= room and self._units(text) <= room:
            return text
        length = min(length, room)
        while length > 16:
            tail = "…" + text[-length:]
            if self._units(tail) <= room:
                return tail
            length = length * 3 // 4
        return ""


def _step(seconds: float) -> float:
    """Seconds are counted singly at first; later they would only cost calls."""
    return 1.0 if seconds < 10 else 5.0
