"""Who gives way when the queue is full. Pure.

The places are shared like this: by how well people are known, then by platform, then between private chats and groups,
then by group, then by person. Whatever part has more than its equal share lends the rest, and gives the newest of it
back when a part with less asks. So nobody can take all places by having many accounts, and none stands empty while
somebody wants it. (Max-min fairness: D. Bertsekas, R. Gallager, "Data Networks", 6.5.2.)

Who is known counts alone, wherever they ask, and loses the only request they have to nobody who is not known (but for
what `inference.queueing.fair_queue` says of those who were served lately). All private chats of the others are one
part, of half at most where groups ask as well. A group or server, where any number of accounts may be brought together
for a raid, counts as often as people ask there, up to `_MOST_ASKERS`: so on a day when everybody is new a large server
is not squeezed to the share of one person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from inference.api import Standing

T = TypeVar("T")
OwnerPath = tuple[str, ...]
"""Standing, platform, owner; between the last two "private", or "groups" and the group, for those who are not known."""

_MOST_ASKERS = 8
"""As so many people a group counts at most. Nor is it more than one in so many of the places."""
_GROUPS = "groups"


def platform_of(owner: str) -> str:
    """What has given the owner their id: a platform ("telegram"), or a client of the API ("api:notebook").

    Whatever a client calls its users, slashes included, they are of one platform.
    """
    if "/" in owner:
        return owner.partition("/")[0]
    return owner.partition(":")[0] if ":" in owner else ""


def path_of(owner: str, standing: Standing, group: str = "") -> OwnerPath:
    """Where the owner's places count; `group` is the group or server in which they ask, "" in private."""
    platform = platform_of(owner)
    if standing == "known":
        return standing, platform, owner
    return (standing, platform, _GROUPS, group, owner) if group else (standing, platform, "private", owner)


class Places:
    """How many requests of each part wait."""

    def __init__(self) -> None:
        self._inside: dict[OwnerPath, Counter[str]] = {}
        """Of each part, how many requests its own parts have."""
        self._owners: dict[str, Counter[OwnerPath]] = {}
        """Of each owner, in which parts their requests are."""

    def take(self, path: OwnerPath) -> None:
        for depth, name in enumerate(path):
            self._inside.setdefault(path[:depth], Counter())[name] += 1
        self._owners.setdefault(path[-1], Counter())[path] += 1

    def leave(self, path: OwnerPath) -> None:
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

    @property
    def of_unknown(self) -> int:
        """How many places are held by people who are not known."""
        return sum(held for standing, held in self._inside.get((), Counter()).items() if standing != "known")

    def giver(self, path: OwnerPath) -> OwnerPath | None:
        """Who gives a place to a newcomer of this path; None if nobody has more than the newcomer would have.

        First the part that has more than its share; where no part has, the owner with the most requests. Whoever has a
        place already gets none that would be taken back from them at once by somebody who is known as well as they are.
        """
        found = self._by_parts(path) or self._by_owner(path)
        if found is None or not self.of(path[-1]):
            return found
        self.leave(found)
        self.take(path)
        back = self._by_parts(found) or (self._by_owner(found) if found[0] == path[0] else None)
        self.leave(path)
        self.take(found)
        return None if back is not None and back[-1] == path[-1] else found

    def _by_parts(self, path: OwnerPath) -> OwnerPath | None:
        for depth, name in enumerate(path):
            parent = path[:depth]
            loads = self._loads(parent)
            if not depth and name != "known":
                loads.pop("known", None)
            fullest = _most(loads) or name
            mine = (self._inside.get(parent, Counter())[name] + 1) / self._weight((*parent, name), path[-1])
            if fullest != name and loads[fullest] > mine:
                return self._fullest_owner((*parent, fullest))
        return None

    def _by_owner(self, path: OwnerPath) -> OwnerPath | None:
        most = _most({owner: self.of(owner) for owner in self._owners})
        return _most(self._owners[most]) if most and self.of(most) > self.of(path[-1]) + 1 else None

    def _weight(self, part: OwnerPath, newcomer: str = "") -> int:
        """As how many people the part counts, with the newcomer where one is named."""
        if part[2:3] != (_GROUPS,) or len(part) != 4:
            return 1
        askers = self._inside.get(part, Counter())
        places = sum(self._inside.get((), Counter()).values())
        most = max(1, min(_MOST_ASKERS, places // _MOST_ASKERS))
        return max(1, min(len(askers) + bool(newcomer and newcomer not in askers), most))

    def _fullest_owner(self, part: OwnerPath) -> OwnerPath:
        while loads := self._loads(part):
            part = (*part, _most(loads) or "")
        return part

    def _loads(self, parent: OwnerPath) -> dict[str, float]:
        """What each part inside has, for each person that it counts as."""
        inside = self._inside.get(parent, Counter())
        return {part: held / self._weight((*parent, part)) for part, held in inside.items()}


def _most(counts: Mapping[T, float]) -> T | None:
    """What there is most of, and of several the one that has come last. None if there is nothing."""
    return max(reversed(list(counts)), key=counts.__getitem__, default=None)
