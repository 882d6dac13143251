"""What was measured of one contender in one round, and the figures that are taken from several."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

NAMES = {
    "A": "Partyline",
    "B": "the usual bot",
    "C": "a thread for each message",
    "D": "the engine by itself",
}


@dataclass(kw_only=True)
class Result:
    """One round: so many `people` asked the `contender` at once.

    Args:
        first, complete: seconds from each question to the first visible words of its answer and to all of them; who
            was not answered within the time of a round counts with infinity.
        tokens: of all complete answers; took_s: from the first question to the last word.
        calls, refused, prolonged: calls that show something, 429s, and calls made within a penalty.
        cpu_s: processor time of the contender; memory_mib: what its memory grew by.
    """

    part: str
    people: int
    contender: str
    first: list[float]
    complete: list[float]
    tokens: int = 0
    took_s: float = 0.0
    calls: int = 0
    refused: int = 0
    prolonged: int = 0
    cpu_s: float = 0.0
    memory_mib: float = 0.0

    def written(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        told = asdict(self)
        for name in ("first", "complete"):
            told[name] = [None if math.isinf(value) else round(value, 4) for value in told[name]]
        return told | {name: round(told[name], 3) for name in ("took_s", "cpu_s", "memory_mib")}

    @classmethod
    def read(cls, told: dict[str, Any]) -> Result:
        times = {name: [math.inf if value is None else value for value in told[name]] for name in ("first", "complete")}
        return cls(**(told | times))


@dataclass
class Figures:
    """All rounds of one contender with so many people."""

    rounds: list[Result] = field(default_factory=list)

    def first(self, share: float) -> float:
        return quantile([each for result in self.rounds for each in result.first], share)

    def complete(self, share: float) -> float:
        return quantile([each for result in self.rounds for each in result.complete], share)

    def total(self, of: Callable[[Result], float]) -> float:
        return sum(of(each) for each in self.rounds)

    @property
    def tokens_a_second(self) -> float:
        """Of all together, as people see them."""
        took_s = self.total(lambda each: each.took_s)
        return self.total(lambda each: each.tokens) / took_s if took_s else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """With linear interpolation; of a single value that one."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low if low == high else low + (high - low) * (place % 1)


def figures(results: Iterable[Result]) -> dict[tuple[str, int, str], Figures]:
    """By part, number of people and contender."""
    found: dict[tuple[str, int, str], Figures] = {}
    for each in results:
        found.setdefault((each.part, each.people, each.contender), Figures()).rounds.append(each)
    return found


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
