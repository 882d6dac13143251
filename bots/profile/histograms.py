"""Numbers about many answers: times in histograms of fixed size, and the sums of some days. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bots.profile.personal import Histogram, Used

_SMALLEST_S = 0.001
_GROWTH = 1.15
"""Each bucket of times ends 15 % above the one before it, so a percentile is at most 7 % wrong."""


def bucket(seconds: float) -> int:
    """The bucket of a time."""
    return max(0, math.ceil(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S, _GROWTH)))


def percentile(histogram: Histogram, share: float) -> float | None:
    """The time in seconds within which that share of all lies; None for none at all."""
    rest = share * sum(histogram.values())
    for number in sorted(histogram):
        rest -= histogram[number]
        if rest <= 0:
            return _SMALLEST_S * math.pow(_GROWTH, number - 0.5)
    return None


def merge(histograms: Sequence[Histogram]) -> Counter[int]:
    """The sum of histograms."""
    counts: Counter[int] = Counter()
    for histogram in histograms:
        counts.update(histogram)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The numbers of some days, oldest first, each day there even when nothing happened.

    Args:
        days: dates in UTC.
        first_token, queue: histograms of seconds, a day each.
        hours: answers in each hour of the day, in UTC.
    """

    days: Sequence[str]
    used: Sequence[Used]
    first_token: Sequence[Histogram]
    queue: Sequence[Histogram]
    hours: Mapping[int, int]

    @property
    def total(self) -> Used:
        return sum(self.used, Used())

    @property
    def busiest_hour(self) -> int | None:
        return max(self.hours, key=self.hours.__getitem__, default=None)

    def first_token_within(self, share: float) -> float | None:
        """The time to first token, in seconds, that this share of all days' answers kept to."""
        return percentile(merge(self.first_token), share)
