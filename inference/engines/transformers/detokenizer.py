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
