"""The figures of `benchmarks.against`: kept as JSON by part, judged by the goals, and told as one table."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rivals.results import Figures, Result, figures

FIGURES = Path("benchmarks/figures/against.json")
PAGE = Path("docs/performance.md")
_BEGIN, _END = "<!-- against: begin -->\n", "<!-- against: end -->\n"
_PLOT = (
    "<picture>",
    '<source media="(prefers-color-scheme: dark)" srcset="against-dark.png">',
    '<img alt="First words, complete answers and tokens a second of the four, and many people at once" '
    'src="against-light.png">',
    "</picture>",
)
_QUIET = 0.7
Known = Mapping[tuple[str, int, str], Figures]


@dataclass(frozen=True)
class Goal:
    """One line of the goals, as measured."""

    what: str
    wanted: str
    measured: str
    holds: bool


def known(kept: Mapping[str, Any]) -> Known:
    return figures(Result.read(each) for part in kept.values() for each in part["results"])


def kept() -> dict[str, Any]:
    """What was written before, by part."""
    return dict(json.loads(FIGURES.read_text())) if FIGURES.exists() else {}


def about(load: float) -> dict[str, Any]:
    """What a reader must know of figures: of which version they are, from when, and what else was at work."""
    version = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {"version": version.stdout.strip(), "date": time.strftime("%Y-%m-%d"), "load": round(load, 1)}


def by_part(results: Sequence[Result], command: str, load: float) -> dict[str, Any]:
    """The results with what a reader must know of them.

    Args:
        load: the machine's load average before anything was run: what else was at work.
    """
    shared = about(load) | {"command": command}
    found: dict[str, Any] = {}
    for result in results:
        found.setdefault(result.part, shared | {"results": []})["results"].append(result.written())
    return found


def write(parts: Mapping[str, Any]) -> None:
    """The figures as JSON, and the table between its marks on the page."""
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(parts, indent=1) + "\n")
    before, rest = PAGE.read_text().split(_BEGIN)
    after = rest.split(_END)[1]
    PAGE.write_text(before + _BEGIN + page(parts) + _END + after)


def page(parts: Mapping[str, Any]) -> str:
    lines = [dated(parts), "", *_PLOT, "", *table(known(parts)), "", *judged(known(parts)), ""]
    return "\n".join(lines)


def dated(parts: Mapping[str, Any]) -> str:
    """Of which version the figures are, from when, and what else the machine did."""
    about = {(part["version"], part["date"], part["load"]) for part in parts.values()}
    measured = "; ".join(f"version {version} on {date}, {_beside(load)}" for version, date, load in sorted(about))
    return f"Measured: {measured}."


def _beside(load: float) -> str:
    if load < _QUIET:
        return "a quiet machine"
    return f"**beside other programs** (load average {load:.1f}, so that neither times nor ratios hold elsewhere)"


def table(found: Known) -> list[str]:
    """Every case with all contenders, as Markdown."""
    lines = ["| | people | | first words p50 · p95 | complete p95 | tokens a second | 429s of calls |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for (part, people, name), one in found.items():
        if part in ("warm", "start"):
            continue
        rate = f"{one.tokens_a_second:.0f}" if one.tokens_a_second else ""
        calls = int(one.total(lambda each: each.calls))
        refused = f"{one.total(lambda each: each.refused):.0f} of {calls}" if calls else ""
        if prolonged := int(one.total(lambda each: each.prolonged)):
            refused += f", {prolonged} in a penalty"
        first = f"{seconds(one.first(0.5))} · {seconds(one.first(0.95))}"
        lines.append(f"| {part} | {people} | {name} | {first} | {seconds(one.complete(0.95))} | {rate} | {refused} |")
    if starts := {name: one for (part, _, name), one in found.items() if part == "start"}:
        lines += ["", "| start | first poll | first words |", "|---|---|---|"]
        for name, one in starts.items():
            lines.append(f"| {name} | {seconds(one.first(0.5))} | {seconds(one.complete(0.5))} |")
    return lines


def judged(found: Known) -> list[str]:
    rows = [(goal, "holds" if goal.holds else "**missed**") for goal in goals(found)]
    lines = [f"| {goal.what} | {goal.wanted} | {goal.measured} | {verdict} |" for goal, verdict in rows]
    return ["| goal | wanted | measured | |", "|---|---|---|---|", *lines]


def goals(found: Known) -> Iterator[Goal]:
    for people in (1, 4, 8, 16):
        yield from _private(found, people)
    if (a := found.get(("group", 4, "A"))) and (b := found.get(("group", 4, "B"))):
        first, complete = a.first(0.95), a.complete(0.95) / b.complete(0.95)
        yield Goal("four in a group: first words p95", "1.5 s", seconds(first), first <= 1.5)
        yield Goal("four in a group: complete p95, A : B", "0.2", f"{complete:.2f}", complete <= 0.2)
        refused = a.total(lambda each: each.refused)
        yield Goal("four in a group: 429s", "none", f"{refused:.0f}", not refused)
    yield from _discord(found)
    if (a := found.get(("start", 1, "A"))) and (b := found.get(("start", 1, "B"))):
        ratio = a.first(0.5) / b.first(0.5)
        yield Goal("start to first poll, A : B", "1", f"{ratio:.2f}", ratio <= 1.0)
    for (part, people, name), one in found.items():
        if part == "growth" and name == "A":
            refused = one.total(lambda each: each.refused)
            yield Goal(f"{people} people within a second: 429s", "none", f"{refused:.0f}", not refused)


def _private(found: Known, people: int) -> Iterator[Goal]:
    a, b, d = (found.get(("private", people, name)) for name in "ABD")
    if a is None or b is None or d is None:
        return
    who = f"{people} in private" if people > 1 else "one in private"
    first, theirs = a.first(0.95), b.first(0.95)
    limit, wanted = (theirs + 0.15, "B's + 0.15 s") if people < 8 else (1.1 * theirs, "1.1 of B's")
    measured = f"{seconds(first)}, B {seconds(theirs)}"
    yield Goal(f"{who}: first words p95", wanted, measured, first <= limit)
    complete = a.complete(0.95) / b.complete(0.95)
    yield Goal(f"{who}: complete p95, A : B", "1.05", f"{complete:.2f}", complete <= 1.05)
    if people != 4:
        rate, least = a.tokens_a_second / d.tokens_a_second, 0.92 if people == 1 else 0.95
        yield Goal(f"{who}: tokens a second, A : D", f"{least}", f"{rate:.2f}", rate >= least)


def _discord(found: Known) -> Iterator[Goal]:
    a, b = (found.get(("discord", 8, name)) for name in "AB")
    if a and b:
        first, complete = a.first(0.95) / b.first(0.95), a.complete(0.95) / b.complete(0.95)
        yield Goal("Discord, eight channels: first words p95, A : B", "1.1", f"{first:.2f}", first <= 1.1)
        yield Goal("Discord, eight channels: complete p95, A : B", "1.05", f"{complete:.2f}", complete <= 1.05)
    if a := found.get(("discord, together", 4, "A")):
        first, refused = a.first(0.95), a.total(lambda each: each.refused)
        yield Goal("Discord, four in a channel: first words p95", "1.5 s", seconds(first), first <= 1.5)
        yield Goal("Discord, four in a channel: 429s", "none", f"{refused:.0f}", not refused)


def seconds(value: float) -> str:
    if math.isinf(value):
        return "not within 180 s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
