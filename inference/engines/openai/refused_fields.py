"""Which fields of a request a server does not take. Pure: time is an argument.

A refused value costs the one request that held it. Only a field that the server does not know is left out of others'
requests, too, and is tried again after a while.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

_FIRST_REST_S, _LONGEST_REST_S = 600.0, 86_400.0
# Without these there is no question.
_NEEDED = frozenset({"model", "messages", "stream", "max_completion_tokens"})
# As OpenAI, vLLM, SGLang, pydantic and llama.cpp have it of a field that they do not know.
_UNKNOWN = re.compile(
    r"unrecogni[sz]ed|unknown|unexpected|extra (?:inputs?|fields?)|not permitted|not allowed|no such|unsupported|"
    r"not supported|does not support|not implemented|extra_forbidden",
    re.IGNORECASE,
)

_NO_MODEL = re.compile(r"\bmodel\b.{0,200}\b(?:does not exist|not found|not available)\b", re.IGNORECASE | re.DOTALL)


class UnsupportedRequest(Exception):
    """The server does not take the request in this form; `details` is the body of its answer."""

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}

    def fields(self, body: Collection[str]) -> frozenset[str]:
        """The fields of the request's body that this names and that a request can do without."""
        said = self.details.get("param")
        places: list[object] = [said.replace("[", ".").split(".")] if isinstance(said, str) else []
        found = self.details.get("detail")
        places += [part.get("loc") for part in found if isinstance(part, dict)] if isinstance(found, list) else []
        named = {str(part) for place in places if isinstance(place, list) for part in place}
        return frozenset(name for name in body if name in named or self._says(name)) - _NEEDED

    @property
    def unknown(self) -> bool:
        """It is the field that is refused, and not its value."""
        return bool(_UNKNOWN.search(str(self)))

    @property
    def names_model(self) -> bool:
        """It is the model that the server does not have."""
        named = self.details.get("param") == "model" or self.details.get("code") == "model_not_found"
        return named or _NO_MODEL.search(str(self)) is not None

    def _says(self, name: str) -> bool:
        """Names that are also words count only in quotes or behind a colon."""
        word = rf"\b{name}\b" if "_" in name else rf"['\"`]{name}['\"`]|: {name}\b"
        return re.search(word, str(self)) is not None


class RefusedFields:
    """What one server refuses, until it is tried again."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._rests: dict[str, float] = {}
        self._plain_helped: set[str] = set()
        """Owners whose requests were refused for no named reason and taken without further fields."""

    def at(self, now: float) -> frozenset[str]:
        return frozenset(name for name, until in self._until.items() if now < until)

    def refused(self, names: Collection[str], now: float) -> None:
        """The server does not know these; each time that it still does not, it is asked again later."""
        for name in names:
            rest = self._rests[name] = min(_LONGEST_REST_S, self._rests.get(name, _FIRST_REST_S / 2) * 2)
            self._until[name] = now + rest

    def plain_helped(self, owner: str, extras: Collection[str], now: float) -> None:
        """A request was taken only without all of `extras`. Two owners in a row make it the server's way."""
        self._plain_helped.add(owner)
        if len(self._plain_helped) > 1:
            self._plain_helped.clear()
            self.refused(extras, now)

    def taken(self, body: Collection[str]) -> None:
        """A request with these fields was answered."""
        self._plain_helped.clear()
        for name in [name for name in self._until if name in body]:
            del self._until[name], self._rests[name]
