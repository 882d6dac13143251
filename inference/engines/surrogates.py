"""Halves of characters: what JSON and UTF-16 can spell, and UTF-8 cannot. Pure."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Half a surrogate pair has no UTF-8; like every JSON writer we put U+FFFD in its place."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Pairs:
    """The text of a stream whose pieces may end within a character beyond U+FFFF, as some servers cut them."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """The text that is complete; a first half at its end waits for the second one."""
        text = self._half + piece
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return encodable(text.removesuffix(self._half) if self._half else text)

    def close(self) -> str:
        """What stands for a half that stayed alone."""
        half, self._half = self._half, ""
        return encodable(half)
