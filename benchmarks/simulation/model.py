"""So many people and what a message costs, to what has to be there for them. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from benchmarks.simulation.flow import PREVIEW_S, Flow, Message, Work, arrivals
from benchmarks.simulation.stations import Engine, Loop, Rates, Server

_DAY_S = 86_400
CALLS_A_REPLY = 2
"""Those that no answer goes without: the first words and the last frame (docs/delivery.md)."""
KEPT = 4
"""Previews leave one in so many of an account's calls to words that are worth more."""
_LEAST_S, _LEAST_MESSAGES = 120.0, 20_000
"""So long a busy hour is simulated, and so many messages of it."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Who writes how much.

    Args:
        people: on one day; messages of each of them; tokens of an answer, on average.
        burstiness: the busiest hour over the average one.
        pictures: share of the messages with a picture; discord: share of those on Discord, the others on Telegram.
        people_a_server: of Discord.
    """

    people: int
    messages: float = 10.0
    tokens: int = 350
    burstiness: float = 4.0
    pictures: float = 0.05
    discord: float = 0.5
    people_a_server: int = 50

    @property
    def messages_a_second(self) -> float:
        """In the busiest hour."""
        return self.people * self.messages * self.burstiness / _DAY_S


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured, in seconds where the name ends so; `benchmarks.capacity` names the source of each."""

    engine: str
    tokens_a_second: Mapping[int, float]
    slots: int
    first_token_s: float
    telegram_calls_a_second: int
    discord_calls_a_second: int
    work: Work
    cpu_s_a_token: float
    servers_a_shard: int
    picture_s: float
    rows_a_reply: float
    rows_a_second: float


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """How many of each; 0 where nobody needs one."""

    telegram_accounts: int = 0
    discord_accounts: int = 0
    discord_shards: int = 0
    bot_processes: int = 0
    engines: int = 0
    captioners: int = 0
    databases: int = 0

    def counts(self) -> dict[str, int]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def previews(load: Load, costs: Costs) -> float:
    """The most of one answer, where nothing but its chat limits them and the engine is full."""
    return load.tokens * costs.slots / max(costs.tokens_a_second.values()) / PREVIEW_S


def cpu_s_a_message(load: Load, costs: Costs) -> float:
    """Processor time of a bot process, with all the previews that an answer may have."""
    calls = CALLS_A_REPLY + previews(load, costs)
    return costs.work.message_s + load.tokens * costs.cpu_s_a_token + calls * costs.work.call_s


def demand(load: Load, costs: Costs) -> dict[str, float]:
    """How many of each are busy all the time in the busiest hour."""
    rate = load.messages_a_second
    telegram, discord = rate * (1 - load.discord), rate * load.discord
    servers = load.people * load.discord / load.people_a_server
    return {
        "telegram_accounts": telegram * CALLS_A_REPLY / costs.telegram_calls_a_second,
        "discord_accounts": discord * CALLS_A_REPLY / costs.discord_calls_a_second,
        "discord_shards": servers / costs.servers_a_shard,
        "bot_processes": rate * cpu_s_a_message(load, costs),
        "engines": rate * load.tokens / max(costs.tokens_a_second.values()),
        "captioners": rate * load.pictures * costs.picture_s,
        "databases": rate * costs.rows_a_reply / costs.rows_a_second,
    }


def needed(load: Load, costs: Costs, headroom: float = 0.8) -> Deployment:
    """The fewest of which none is busy for more than `headroom` of the busiest hour.

    A process serves one account of each platform, and one of its cores is what it can use; an account has one process.
    """
    counts = {name: math.ceil(busy / headroom) for name, busy in demand(load, costs).items()}
    counts["discord_shards"] = math.ceil(demand(load, costs)["discord_shards"])  # a limit, and no load
    accounts = [name for name in ("telegram_accounts", "discord_accounts") if counts[name]]
    counts["bot_processes"] = max([counts["bot_processes"], *(counts[name] for name in accounts)])
    counts |= dict.fromkeys(accounts, counts["bot_processes"])
    return Deployment(**counts)


def busy(load: Load, costs: Costs, deployment: Deployment) -> dict[str, float]:
    """Share of the busiest hour in which each kind works, the busiest first; over 1 it cannot keep up."""
    counts = deployment.counts()
    shares = {name: share / counts[name] for name, share in demand(load, costs).items() if counts[name]}
    shares.pop("discord_shards", None)
    return dict(sorted(shares.items(), key=lambda each: -each[1]))


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds; 0 where nobody wrote."""

    messages: int
    first_p50: float
    first_p95: float
    complete_p50: float
    complete_p95: float


def waits(load: Load, costs: Costs, deployment: Deployment, seed: int = 0) -> Waits:
    """What people wait for in the busiest hour."""
    return waited(simulated(load, costs, deployment, seed))


def simulated(load: Load, costs: Costs, deployment: Deployment, seed: int = 0) -> list[Message]:
    rate, dice = load.messages_a_second, random.Random(seed)
    if not rate:
        return []
    seconds = max(_LEAST_S, _LEAST_MESSAGES / rate)
    most = deployment.bot_processes / costs.cpu_s_a_token / deployment.engines
    rates = Rates(costs.tokens_a_second, most)
    loops = [Loop(costs.cpu_s_a_token) for _ in range(deployment.bot_processes)]
    flow = Flow(
        engines=[Engine(costs.slots, rates, costs.first_token_s) for _ in range(deployment.engines)],
        accounts=[
            *(account(costs.telegram_calls_a_second) for _ in range(deployment.telegram_accounts)),
            *(account(costs.discord_calls_a_second) for _ in range(deployment.discord_accounts)),
        ],
        loops=[*loops[: deployment.telegram_accounts], *loops[: deployment.discord_accounts]],
        work=costs.work,
        tasks=[Server(1, costs.picture_s) for _ in range(deployment.captioners)],
    )
    return flow.run(_spread(arrivals(rate, seconds, load.tokens, dice, load.pictures), load, deployment, dice))


def account(calls_a_second: int) -> Server:
    """One whose previews leave some calls to what is worth more."""
    return Server(calls_a_second, 1.0, kept=calls_a_second // KEPT)


def _spread(messages: Iterator[Message], load: Load, deployment: Deployment, dice: random.Random) -> Iterator[Message]:
    """Everybody has a platform, and on it an account that they write to."""
    for message in messages:
        if dice.random() < load.discord:
            message.account = deployment.telegram_accounts + dice.randrange(deployment.discord_accounts)
        else:
            message.account = dice.randrange(deployment.telegram_accounts)
        yield message


def waited(messages: list[Message]) -> Waits:
    first = sorted(each.first_at - each.at for each in messages)
    complete = sorted(each.complete_at - each.at for each in messages)
    return Waits(
        messages=len(messages),
        first_p50=_quantile(first, 0.5),
        first_p95=_quantile(first, 0.95),
        complete_p50=_quantile(complete, 0.5),
        complete_p95=_quantile(complete, 0.95),
    )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))] if ordered else 0.0


def times(load: Load, factor: float) -> Load:
    """The same people, who write so many times as much."""
    return replace(load, messages=load.messages * factor)
