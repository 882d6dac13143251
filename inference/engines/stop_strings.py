"""Stop strings: an answer ends before the first of them, and none of its beginning is shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inference.engines.port import Closed, Output, Piece


class StopStrings:
    """Holds text back that may be the beginning of a stop string, and ends before the first one that is whole."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.met = False

    def feed(self, text: str) -> str:
        """What of the text so far can be shown now."""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.met = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def close(self) -> str:
        """What was held back: nothing more comes."""
        held, self._held = self._held, ""
        return held


class StopFilter:
    """Ends an answer before its first stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = StopStrings(stops)
        self._count = 0

    @property
    def met(self) -> bool:
        return self._stops.met

    def take(self, outputs: Iterable[Output]) -> Iterator[Output]:
        for output in outputs:
            if isinstance(output, Closed) and (held := self._stops.close()):
                yield Piece(held, 0)
            if not isinstance(output, Piece):
                yield output
                continue
            self._count += output.tokens
            if output.thinking:
                # What a server keeps apart is no place for the end of an answer.
                yield output
                continue
            yield Piece(self._stops.feed(output.text), output.tokens)
            if self._stops.met:
                yield Closed("stop", self._count)
                return

    def rest(self) -> Iterator[Output]:
        """What was held back, where the answer breaks off."""
        if held := self._stops.close():
            yield Piece(held, 0)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
