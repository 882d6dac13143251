"""Who gives way when the queue is full. Pure.

The places are shared like this: by how well people are known, then by platform, then by group, then by person.
Whatever part has more than its equal share lends the rest, and gives the newest of it back when a part with less asks.
So nobody can take all places by having many accounts, and none stands empty while somebody wants it. (Max-min
fairness: D. Bertsekas, R. Gallager, "Data Networks", 6.5.2.)

Who is known counts alone, wherever they ask. All others in one group, where any number of accounts may be brought
together for a raid, are one part; who asks in private is a part alone.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from inference.api import Standing

T = TypeVar("T")
Path = tuple[str, ...]
"""Standing, platform, group, owner."""


def platform_of(owner: str) -> str:
    """What has given the owner their id: a platform ("telegram"), or a client of the API ("api:notebook").

    Whatever a client calls its users, slashes included, they are of one platform.
    """
    if "/" in owner:
        return owner.partition("/")[0]
    return owner.partition(":")[0] if ":" in owner else ""


def path_of(owner: str, standing: Standing, group: str = "") -> Path:
    """Where the owner's places count; `group` is the group or server in which they ask, "" in private."""
    return standing, platform_of(owner), owner if standing == "known" or not group else group, owner


class Places:
    """How many requests of each part wait."""

    def __init__(self) -> None:
        self._inside: dict[Path, Counter[str]] = {}
        """Of each part, how many requests its own parts have."""
        self._owners: dict[str, Counter[Path]] = {}
        """Of each owner, in which parts their requests are."""

    def take(self, path: Path) -> None:
        for depth, name in enumerate(path):
            self._inside.setdefault(path[:depth], Counter())[name] += 1
        self._owners.setdefault(path[-1], Counter())[path] += 1

    def leave(self, path: Path) -> None:
        for depth, name in enumerate(path):
            inside = self._inside[path[:depth]]
            inside[name] -= 1
            if not inside[name]:
                del inside[name]
            if not inside:
                del self._inside[path[:depth]]
        own = self._owners[path[-1]]
        own[path] -= 1
        if not own[path]:
            del own[path]
        if not own:
            del self._owners[path[-1]]

    def of(self, owner: str) -> int:
        return self._owners[owner].total() if owner in self._owners else 0

    def giver(self, path: Path) -> Path | None:
        """Who gives a place to a newcomer of this path; None if nobody has more than the newcomer would have.

        First the part that has more than its share; where no part has, the owner with the most requests.
        """
        for depth, name in enumerate(path):
            inside = self._inside.get(path[:depth], Counter())
            fullest = _most(inside) or name
            if inside[fullest] > inside[name] + 1:
                return self._fullest_owner((*path[:depth], fullest))
        most = _most(Counter({owner: self.of(owner) for owner in self._owners}))
        return _most(self._owners[most]) if most and self.of(most) > self.of(path[-1]) + 1 else None

    def _fullest_owner(self, part: Path) -> Path:
        while (inside := self._inside.get(part)) is not None:
            part = (*part, _most(inside) or "")
        return part


def _most(counts: Counter[T]) -> T | None:
    """What there is most of, and of several the one that has come last. None if there is nothing."""
    return max(reversed(counts), key=counts.__getitem__, default=None)
