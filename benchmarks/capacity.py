"""What so many people need: `python -m benchmarks.capacity` simulates a busy hour on a virtual clock.

Costs are those that other benchmarks measured, read from what they wrote where they write it; how much people write is
assumed, and each assumption an option. `--check` compares the simulation with the measured runs of `benchmarks.against`
at 50 to 1,000 people; `--write` puts the tables into docs/capacity.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import costs as measured_costs
from benchmarks import writes
from benchmarks.rivals import report
from benchmarks.rivals.parts import SCRIPTED_FIRST_S, SCRIPTED_RATE, SCRIPTED_SLOTS
from benchmarks.simulation.flow import Flow, Message, Work
from benchmarks.simulation.model import (
    CALLS_A_REPLY,
    Costs,
    Deployment,
    Load,
    Waits,
    account,
    busy,
    needed,
    times,
    waited,
    waits,
)
from benchmarks.simulation.stations import Engine, Loop, Rates

PAGE = Path("docs/capacity.md")
_BEGIN, _END = "<!-- capacity: begin -->\n", "<!-- capacity: end -->\n"
PEOPLE = (1_000, 100_000, 1_000_000)
TELEGRAM_CALLS = 29
"""In a second, of an account: with so many, `benchmarks.against --only growth` met no 429 with 1,000 people."""
DISCORD_CALLS = 45
"""The pace of adapters/discord/outbound/channel.py, below the 50 requests a second of Discord's documentation."""
CLOSE = 0.15
"""By that share the simulation may differ from what was measured."""
Measured = Mapping[str, Any]
ENGINES: dict[str, tuple[str, dict[int, float], int, float]] = {
    "h200": ("an 8B model on one H200", {1: 97.0, 16: 1193.0, 64: 2817.0}, 64, 0.0),
}
"""Name, tokens a second of all by the number of streams, slots, and the wait for the first token.

`h200`: `python -m benchmarks.gpu`, ours with FlashAttention 3; prompts of 200 tokens are in the rates, so that the wait
for the first token is not counted twice. `demo` comes from `benchmarks.against --only private`, the engine by itself.
"""


def costs(engine: str, found: report.Known, process: Measured, writes: Measured) -> Costs:
    """Every figure with the benchmark that measured it.

    Raises:
        KeyError: it has not been measured yet.
    """
    name, rates, slots, first_token_s = ENGINES[engine] if engine in ENGINES else demo(found)

    return Costs(
        engine=name,
        tokens_a_second=rates,
        slots=slots,
        first_token_s=first_token_s,
        telegram_calls_a_second=TELEGRAM_CALLS,
        discord_calls_a_second=DISCORD_CALLS,
        work=work(process, rates[1]),
        # `benchmarks.costs`: a process of the program over an engine without weights, crowds of 50 to 200.
        cpu_s_a_token=process["token_s"],
        # Discord's documentation: the most that it allows.
        servers_a_shard=2_500,
        # `benchmarks.captions`: 16 pictures at BLIP-base's size in 12.3 s, on two cores.
        picture_s=12.3 / 16,
        # `benchmarks.writes`: PostgreSQL, on two cores that the program shares.
        rows_a_reply=writes["rows_a_reply"],
        rows_a_second=writes["rows_a_second"],
    )


def work(process: Measured, tokens_a_second: float) -> Work:
    """What a process does, where a stream has so many tokens a second when it begins."""
    return Work(
        message_s=process["message_s"],
        call_s=process["call_s"],
        company_s=measured_costs.company_s(tokens_a_second),
        other_s=process["other_s"],
    )


def demo(found: report.Known) -> tuple[str, dict[int, float], int, float]:
    """The demo's model on this machine."""
    rates = {people: found["private", people, "D"].tokens_a_second for people in (1, 4, 8)}
    return "SmolLM2-135M on two cores", rates, 8, found["private", 1, "D"].first(0.5)


@dataclass(frozen=True)
class Compared:
    people: int
    what: str
    measured: float
    simulated: float

    @property
    def is_close(self) -> bool:
        return abs(self.simulated / self.measured - 1) <= CLOSE


def compared(found: report.Known, process: Measured) -> Iterator[Compared]:
    """The crowds of `benchmarks.against --only growth`, measured and simulated."""
    for (part, people, contender), one in found.items():
        if (part, contender) != ("growth", "A"):
            continue
        told = crowd(people, one.rounds[0].tokens // one.rounds[0].people, process)
        yield Compared(people, "first words p50", one.first(0.5), told.first_p50)
        yield Compared(people, "first words p95", one.first(0.95), told.first_p95)
        yield Compared(people, "complete p95", one.complete(0.95), told.complete_p95)


def crowd(people: int, tokens: int, process: Measured) -> Waits:
    """So many people who write within one second, evenly: their engine has a rate for each, the process one core."""
    rates = Rates({1: SCRIPTED_RATE, SCRIPTED_SLOTS: SCRIPTED_RATE * SCRIPTED_SLOTS}, 1 / process["token_s"])
    flow = Flow(
        engines=[Engine(SCRIPTED_SLOTS, rates, SCRIPTED_FIRST_S)],
        accounts=[account(TELEGRAM_CALLS)],
        loops=[Loop(process["token_s"])],
        work=work(process, SCRIPTED_RATE),
    )
    return waited(flow.run(Message(number / people, tokens) for number in range(people)))


@dataclass(frozen=True)
class Answer:
    """What so many people need, and how they fare."""

    load: Load
    costs: Costs
    deployment: Deployment

    def column(self) -> list[str]:
        deployment, load = self.deployment, self.load
        usual, more = waits(load, self.costs, deployment), waits(times(load, 1.25), self.costs, deployment)
        shares = busy(load, self.costs, deployment)
        first = next(iter(shares.items()), ("nothing", 0.0))
        return [
            f"{load.messages_a_second:,.1f}",
            f"{load.messages_a_second * load.tokens:,.0f}",
            f"{deployment.engines:,} ({_share(shares, 'engines')})",
            f"{deployment.telegram_accounts:,} ({_share(shares, 'telegram_accounts')})",
            f"{deployment.discord_accounts:,} ({_share(shares, 'discord_accounts')})",
            f"{deployment.discord_shards:,}",
            f"{deployment.bot_processes:,} ({_share(shares, 'bot_processes')})",
            f"{deployment.captioners:,} ({_share(shares, 'captioners')})",
            f"{load.messages_a_second * self.costs.rows_a_reply:,.0f} ({_share(shares, 'databases')} of one server)"
            if deployment.databases == 1
            else f"{load.messages_a_second * self.costs.rows_a_reply:,.0f} ({deployment.databases} servers like that)",
            f"{_previews(load, self.costs, deployment):.1f}",
            f"{usual.first_p50:.2f} · {usual.first_p95:.2f} s",
            f"{usual.complete_p50:.1f} · {usual.complete_p95:.1f} s",
            f"{_NAMES[first[0]]}, at {1 / first[1]:.2f} times the load" if first[1] else "nothing",
            f"{more.first_p95:.2f} · {more.complete_p95:.1f} s",
        ]


ROWS = (
    "messages a second in the busiest hour",
    "tokens a second",
    "engines (how busy)",
    "Telegram accounts",
    "Discord accounts",
    "Discord shards",
    "bot processes",
    "captioners",
    "PostgreSQL rows a second",
    "previews for each answer on Telegram, at most",
    "first words p50 · p95",
    "complete p50 · p95",
    "gives way first",
    "at 1.25 times the load: first words · complete, p95",
)
_NAMES = {
    "engines": "the engines",
    "telegram_accounts": "Telegram's limit for an account",
    "discord_accounts": "Discord's limit for an account",
    "bot_processes": "the bot processes",
    "captioners": "the captioners",
    "databases": "PostgreSQL",
    "nothing": "nothing",
}


def _share(shares: dict[str, float], name: str) -> str:
    return f"{shares.get(name, 0.0):.0%}"


def _previews(load: Load, costs: Costs, deployment: Deployment) -> float:
    """What is left of the accounts' calls when every answer has had its first words and its last frame."""
    rate = load.messages_a_second * (1 - load.discord)
    return (
        max(0.0, deployment.telegram_accounts * costs.telegram_calls_a_second / rate - CALLS_A_REPLY)
        if rate
        else math.inf
    )


def table(answers: Sequence[Answer]) -> list[str]:
    columns = [each.column() for each in answers]
    lines = ["| people a day | " + " | ".join(f"{each.load.people:,}" for each in answers) + " |"]
    lines.append("|---" * (len(answers) + 1) + "|")
    return lines + [
        f"| {name} | {' | '.join(row)} |" for name, row in zip(ROWS, zip(*columns, strict=True), strict=True)
    ]


def checked(found: report.Known, process: Measured) -> list[str]:
    lines = ["| people within a second | | measured | simulated | |", "|---|---|---|---|---|"]
    for each in compared(found, process):
        off = f"{each.simulated / each.measured - 1:+.0%}" + ("" if each.is_close else ", **further than 15 %**")
        lines.append(f"| {each.people} | {each.what} | {each.measured:.2f} s | {each.simulated:.2f} s | {off} |")
    return lines


def write(lines: Sequence[str]) -> None:
    before, rest = PAGE.read_text().split(_BEGIN)
    PAGE.write_text(before + _BEGIN + "\n".join(lines) + "\n" + _END + rest.split(_END)[1])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, nargs="+", default=[*PEOPLE])
    options.add_argument("--engine", choices=[*ENGINES, "demo"], default="h200")
    usual = Load(people=0)
    for name in ("messages", "tokens", "burstiness", "pictures", "discord", "people_a_server"):
        value = getattr(usual, name)
        options.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options.add_argument("--check", action="store_true", help="only compare with what was measured")
    options.add_argument("--write", action="store_true", help=f"put the tables into {PAGE}")
    chosen = vars(options.parse_args())
    try:
        parts = report.kept()
        found = report.known(parts)
        process = json.loads(measured_costs.FIGURES.read_text())
        lines = ["", report.dated({"growth": parts["growth"], "costs": process}), "", *checked(found, process)]
        if not chosen["check"]:
            measured = costs(chosen["engine"], found, process, json.loads(writes.FIGURES.read_text()))
            load = Load(people=0, **{name: chosen[name] for name in vars(usual) if name != "people"})
            loads = [replace(load, people=people) for people in chosen["people"]]
            lines = [*table([Answer(each, measured, needed(each, measured)) for each in loads]), *lines]
    except (KeyError, FileNotFoundError) as error:
        print(f"not measured yet: {error}; run benchmarks.against, costs and writes with --write first")
        return 1
    print("\n".join(lines))
    if chosen["write"]:
        write(lines)
    return int(any(not each.is_close for each in compared(found, process)))


if __name__ == "__main__":
    sys.exit(main())
