"""Who goes first in a chat, and what people leave to each other there: max-min fair sharing of its calls.

Pure: it counts calls of one moment, and is told what was spent until then.
"""

from __future__ import annotations

from collections.abc import Mapping


class FairShare:
    """The calls of a window, poured like water over the people who are here.

    The ground that each of them stands on is what they have of other chats; where some may come who are not here yet,
    one more place is poured over. `level` is how high the water stands then, and at least an answer high.
    Whoever stands lower goes first, and whoever is to stand above the level leaves so many calls free as that is above
    it, an answer's at least, as far as others stand below.

    Args:
        capacity: the most calls that can be made at once.
        here: the calls that each person has had of this chat lately, of everybody who is here.
        elsewhere: those that each of them has had of other chats lately, or is promised there.
        answer: the calls of one answer.
        is_open: calls are kept for somebody who may come.
    """

    def __init__(
        self,
        capacity: int,
        here: Mapping[str, int],
        elsewhere: Mapping[str, int],
        *,
        answer: int = 2,
        is_open: bool = True,
    ) -> None:
        self._answer = answer
        self._is_open = is_open
        self._standing = {each: had + elsewhere.get(each, 0) for each, had in here.items()}
        grounds = sorted([*(elsewhere.get(each, 0) for each in here), *([0] if is_open else [])])
        self.level = max(float(answer), _level(capacity, grounds))

    def standing(self, person: str) -> int:
        """The calls that somebody has had of all chats lately, those included that they are promised elsewhere."""
        return self._standing.get(person, 0)

    def is_over(self, person: str) -> bool:
        """Whether one more call is above their share."""
        return self.standing(person) + 1 > self.level

    def leaves(self, person: str) -> int:
        """The calls that have to stay free when one is made for this person."""
        if not self.is_over(person):
            return 0
        others = sum(max(0.0, self.level - had) for each, had in self._standing.items() if each != person)
        others += self.level if self._is_open else 0.0
        return min(max(self._answer, int(self.standing(person) + 1 - self.level)), int(others))


def _level(capacity: int, grounds: list[int]) -> float:
    """How high so much water stands over these grounds, the lowest of which come first."""
    poured, level = capacity, float(capacity)
    for count, ground in enumerate(grounds, 1):
        if count > 1 and ground >= level:
            break
        poured += ground
        level = poured / count
    return level
