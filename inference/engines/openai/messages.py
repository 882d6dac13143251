"""What whole messages in place of deltas add to an answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_CERTAINLY_REPEATED = 16
"""Characters that begin two messages of one stream by no accident."""


class Messages:
    """Some servers send all that was said so far every time, others a piece.

    Where a short beginning may be either, what would differ is held back until a later message tells, or the end, which
    takes it for a repetition.
    """

    def __init__(self) -> None:
        self._repeated: dict[str, str] = {}
        """All that was said, if each message repeats it."""
        self._joined: dict[str, str] = {}
        """All that was said, if each message is a piece."""
        self._told: dict[str, int] = {}

    def new_in(self, texts: Mapping[str, str]) -> dict[str, str]:
        """What a message, as text by field, adds."""
        before, joined = self._repeated, self._joined
        pieces = {name: joined.get(name, "") + text for name, text in texts.items()}
        whole = {name: text or before.get(name, "") for name, text in texts.items()}
        if not all(whole[name].startswith(before.get(name, "")) for name in texts):
            whole = pieces
        elif sum(map(len, before.values())) >= _CERTAINLY_REPEATED:
            pieces = whole
        self._repeated, self._joined = whole, pieces
        return self._untold({name: text for name, text in whole.items() if text == pieces[name]})

    def close(self) -> dict[str, str]:
        """What was held back."""
        return self._untold(self._repeated)

    def _untold(self, said: Mapping[str, str]) -> dict[str, str]:
        new = {name: text[self._told.get(name, 0) :] for name, text in said.items()}
        self._told |= {name: len(text) for name, text in said.items()}
        return new
