"""What the measured crowds mean for people. Pure.

A crowd is served at reading speed where nearly everybody (the 95th percentile) sees the first words within
`PATIENCE_S`, and then at least `WORDS_A_MINUTE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WORDS_A_MINUTE = 238
"""Silent reading of English non-fiction, the mean of 190 studies: Brysbaert, "How many words do we read per minute?",
Journal of Memory and Language 109 (2019)."""
PATIENCE_S = 10.0
"""After so long people turn to something else: Nielsen, "Usability Engineering" (1993), chapter 5."""
MOST_PEOPLE = 256
_CLOSE = 0.1
"""The search ends where the sizes differ by this share: two runs differ by as much."""
_NEARLY_ALL = 0.95


@dataclass(frozen=True, slots=True)
class Seen:
    """What one person saw: seconds until the first words, and words a minute from there on.

    Who got no answer has waited for ever.
    """

    first_s: float
    words_a_minute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many people asked at once. The two figures of a person are those that 95 of 100 people have or better."""

    people: int
    first_s: float
    words_a_minute: float
    tokens_a_second: float
    """Of all together."""

    @classmethod
    def of(cls, seen: Sequence[Seen], tokens_a_second: float) -> Crowd:
        return cls(
            people=len(seen),
            first_s=_worst(sorted(each.first_s for each in seen)),
            words_a_minute=_worst(sorted((each.words_a_minute for each in seen), reverse=True)),
            tokens_a_second=tokens_a_second,
        )

    @property
    def comes_in_time(self) -> bool:
        return self.first_s <= PATIENCE_S

    @property
    def is_served(self) -> bool:
        return self.comes_in_time and self.words_a_minute >= WORDS_A_MINUTE


def _worst(from_best: Sequence[float]) -> float:
    """What all but five of a hundred have or better; with fewer than twenty people, the last one's."""
    return from_best[math.ceil(_NEARLY_ALL * len(from_best)) - 1]


def next_size(crowds: Sequence[Crowd], most: int = MOST_PEOPLE) -> int | None:
    """How many people to ask next: twice as many until a crowd is not served, then between; None: it is known."""
    served = max((crowd.people for crowd in crowds if crowd.is_served), default=0)
    too_many = min((crowd.people for crowd in crowds if not crowd.is_served), default=None)
    if too_many is None:
        return None if served >= most else min(most, max(1, 2 * served))
    if too_many - served <= max(1.0, _CLOSE * served):
        return None
    return (served + too_many) // 2


def serves(crowds: Sequence[Crowd]) -> int:
    """The most people who were served at once; 0 where not even one was."""
    too_many = min((crowd.people for crowd in crowds if not crowd.is_served), default=math.inf)
    return max((crowd.people for crowd in crowds if crowd.is_served and crowd.people < too_many), default=0)


def in_words(crowds: Sequence[Crowd], what: str, slots: int, most: int = MOST_PEOPLE) -> str:
    """The verdict, and what would change it."""
    people = serves(crowds)
    failed = min((crowd for crowd in crowds if not crowd.is_served), key=lambda crowd: crowd.people, default=None)
    if not people:
        return f"{what} is slower than people read, even for one person. {_remedy(failed, slots)}".strip()
    number = f"at least {people}" if people >= most else f"{people}"
    verdict = f"{what} serves {number} {'person' if people == 1 else 'people'} at once at reading speed."
    return f"{verdict} {_remedy(failed, slots)}".strip()


def _remedy(failed: Crowd | None, slots: int) -> str:
    if failed is None:
        return ""
    if not failed.comes_in_time and failed.people > slots and failed.words_a_minute >= 2 * WORDS_A_MINUTE:
        return (
            f"With {failed.people} people some wait for one of the {slots} slots, although words come faster than they "
            "are read: try a larger inference.slots."
        )
    return "For more, use a smaller model, a GPU, or several servers (docs/scaling.md)."


def table(crowds: Sequence[Crowd]) -> list[str]:
    """A line for each size, the smallest first."""
    rows = [("people", "first words", "words a minute each", "tokens a second in all", "at reading speed")]
    for crowd in sorted(crowds, key=lambda crowd: crowd.people):
        rate = f"{crowd.words_a_minute:.0f}"
        rows.append((f"{crowd.people}", _seconds(crowd.first_s), rate, f"{crowd.tokens_a_second:.0f}", _yes(crowd)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad: Callable[[str, int], str] = str.rjust
    return ["  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _yes(crowd: Crowd) -> str:
    return "yes" if crowd.is_served else "no"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f} s"
