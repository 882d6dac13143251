"""A state of a post as the page draws it, and what of it is new to a page that has an earlier one."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

_SHORTEST_KEPT = 16
"""Characters; less is not worth a number."""


class View:
    """One state of a post. `fields` are those of `protocol.view`; nothing changes them."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self._since: tuple[int, str] = (-1, "")
        """The newest delta, which all pages with the same state need: the base's revision, and the message."""

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def revision(self) -> int:
        return int(self.fields["revision"])

    @cached_property
    def json(self) -> str:
        return json.dumps(self.fields, separators=(",", ":"))

    def __len__(self) -> int:
        """About how long a message with all of it is, in characters."""
        thinking = self.fields["thinking"]
        return len(self.fields["html"]) + len(self.fields["text"]) + len(thinking["text"] if thinking else "") + 500

    def whole(self) -> str:
        return f'{{"type":"post","post":{self.json}}}'

    def since(self, base: View) -> str:
        """The message that makes this state of `base`, an earlier one of the same post."""
        if self._since[0] != base.revision:
            message = {"type": "delta", "id": self.id, "base": base.revision, "set": self._changed(base.fields)}
            self._since = base.revision, json.dumps(message, separators=(",", ":"))
        return self._since[1]

    def _changed(self, base: dict[str, Any]) -> dict[str, Any]:
        changed = {name: value for name, value in self.fields.items() if name != "html" and base[name] != value}
        if base["html"] != self.fields["html"]:
            changed["html"] = _spliced(base["html"], self.fields["html"])
        thinking, earlier = changed.get("thinking"), base["thinking"]
        if thinking and earlier:
            changed["thinking"] = thinking | {"text": _spliced(earlier["text"], thinking["text"])}
        return changed


def _spliced(before: str, now: str) -> str | list[Any]:
    """How many UTF-16 units of `before` stay, and what comes after them; `now` itself where that is hardly longer."""
    kept = _common(before, now)
    if kept < _SHORTEST_KEPT:
        return now
    head = now[:kept]
    return [kept if head.isascii() else len(head.encode("utf-16-le", "surrogatepass")) // 2, now[kept:]]


def _common(one: str, other: str) -> int:
    """The length of what both begin with."""
    low, high = 0, min(len(one), len(other)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
