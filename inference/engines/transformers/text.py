"""Token ids to text while they are being chosen. Pure: the decoder is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# What a decoder shows for bytes that are no character, or not one yet.
_HALF = "\N{REPLACEMENT CHARACTER}"
# A character has at most four bytes, and a token at least one: what is no character after so many never will be.
_LONGEST_CHARACTER = 4
# A decoder needs the tokens before to know whether a word begins with a blank.
_CONTEXT = 4


class Detokenizer:
    """Text of one token after the other, never half a character; each costs the same, however long the text is.

    Args:
        decode: token ids to text, control tokens spelled out or left out.
        before: the tokens that the text goes on from.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = list(before[-_CONTEXT:])
        self._shown = decode(self._window)
        self._pending = 0

    def feed(self, token: int) -> str:
        """The text that this token completes; empty while a character waits for its rest."""
        self._window.append(token)
        self._pending += 1
        text = self._decode(self._window)
        if text.endswith(_HALF) and self._pending < _LONGEST_CHARACTER:
            return ""
        new = text[len(self._shown) :]
        # After bytes that are no character nothing before them matters any more.
        self._window = [] if text.endswith(_HALF) else self._window[-_CONTEXT:]
        self._shown = self._decode(self._window)
        self._pending = 0
        return new


class Stops:
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


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
