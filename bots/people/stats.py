"""`/stats`: what a person, or everybody, used in the last days, in words and as panels of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from bots import wording
from bots.people.usage import QuotaMeter
from bots.profile.histograms import Stats, merge, percentile
from bots.profile.personal import Histogram, SampleKind, Used
from bots.profile.preferences import UserError

DEFAULT_DAYS = 14
MAX_DAYS = 90
EVERYBODY = frozenset({"all", "everybody", "bot"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram: `series` by name, each with a value (or None for a gap) for every label on the horizontal axis.

    `dates`: the labels are dates, and the last one matters most.
    """

    title: str
    unit: str
    kind: Literal["bars", "lines"]
    labels: Sequence[str]
    dates: bool
    series: Mapping[str, Sequence[float | None]]


class Draw(Protocol):
    """Makes a PNG picture of panels."""

    async def __call__(self, title: str, panels: Sequence[Panel], *, dark: bool) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsQuery:
    """What `/stats` was called with."""

    days: int = DEFAULT_DAYS
    dark: bool = False
    everybody: bool = False


def read(argument: str) -> StatsQuery:
    """Reads words in any order: a number of days, `light` or `dark`, `all`.

    Raises:
        Refused: a word that is none of these.
    """
    days, dark, everybody = DEFAULT_DAYS, False, False
    for word in argument.lower().split():
        if word.isascii() and word.isdigit() and len(word) < 5 and 1 <= int(word) <= MAX_DAYS:
            days = int(word)
        elif word in ("light", "dark"):
            dark = word == "dark"
        elif word in EVERYBODY:
            everybody = True
        else:
            raise UserError(wording.stats_usage(MAX_DAYS))
    return StatsQuery(days=days, dark=dark, everybody=everybody)


def panels(seen: Stats) -> list[Panel]:
    """The picture's diagrams."""
    dates = [wording.short_date(day) for day in seen.days]
    hours = [f"{hour:02}" for hour in range(24)]
    return [
        _bars(wording.TOKENS_A_DAY, dates, [used.tokens for used in seen.used], dates=True),
        _shares(wording.FIRST_TOKEN, dates, seen.first_token),
        _shares(wording.QUEUE, dates, seen.queue),
        _bars(wording.BUSIEST_HOURS, hours, [seen.hours.get(hour, 0) for hour in range(24)], dates=False),
    ]


def _bars(title: str, labels: Sequence[str], values: Sequence[float], *, dates: bool) -> Panel:
    return Panel(title=title, unit="", kind="bars", labels=labels, dates=dates, series={"": values})


def _shares(title: str, labels: Sequence[str], histograms: Sequence[Histogram]) -> Panel:
    series = {f"p{100 * share:.0f}": [percentile(each, share) for each in histograms] for share in (0.5, 0.95)}
    return Panel(title=title, unit="s", kind="lines", labels=labels, dates=True, series=series)


async def stats(meter: QuotaMeter, people: Sequence[str] | None, days: int) -> Stats:
    """The numbers of the last days, today included; of everybody where `people` is None."""
    today = datetime.fromtimestamp(meter.now(), UTC).date()
    dates = [(today - timedelta(days=days - 1 - number)).isoformat() for number in range(days)]
    used = await meter.record.usage(people, dates[0])
    histograms = await meter.record.histograms(people, dates[0])

    def of_kind(kind: SampleKind) -> list[Histogram]:
        return [histograms.get((day, kind), {}) for day in dates]

    return Stats(
        days=dates,
        used=[used.get(day, Used()) for day in dates],
        first_token=of_kind("first_token"),
        queue=of_kind("queue"),
        hours=merge(of_kind("hour")),
    )
