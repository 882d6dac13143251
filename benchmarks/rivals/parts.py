"""The parts of `benchmarks.against`: who asks whom, how many at once, where and beside what. Contenders take turns."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.rivals.contenders import Contender, Server, busy_process, llama, partyline, scripted_server, usual_bot
from benchmarks.rivals.people import DiscordPeople, People, Question, TelegramPeople, until, until_over
from benchmarks.rivals.results import Result
from tests.servers.discord import DiscordServer, Limit
from tests.servers.telegram import telegram
from tests.servers.telegram_world import Rules

PRIVATE = {1: 5, 4: 3, 8: 2, 16: 2}
"""How many people ask at once, and how often that is done."""
THREADS = (1, 4)
"""A thread for each message takes half a minute for four people; with 16 it would take three minutes."""
TOGETHER, APART = 4, 8
STARTS = 3
GROWTH = {"A": (50, 100, 200, 400, 1000), "B": (50, 200)}
SCRIPTED_RATE, SCRIPTED_FIRST_S, SCRIPTED_SLOTS = 10.0, 0.1, 256
"""An engine without weights: twice as fast as people read, so that one core has time for all its streams."""
WITHIN_S = 180.0
"""Who is not answered by then counts as not answered."""
_seeds = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run: how often, which parts, with how many people in private, and how long answers are."""

    rounds: int
    parts: Sequence[str]
    crowds: Sequence[int]
    tokens: int


def questions(count: int) -> dict[int, str]:
    """New ones, by their seed."""
    return {
        seed: f"Write a long story about person {seed} and a lighthouse." for seed in itertools.islice(_seeds, count)
    }


@dataclass
class Bot:
    """A contender and the people who ask it."""

    name: str
    people: People
    contender: Contender

    async def round(self, part: str, asked: Mapping[int, str], engine: Server, *, together: bool = False) -> Result:
        before, cpu_s = self.people.counts(), self.contender.cpu_s()
        waiting = await self.people.ask(asked, together=together)
        over = await until_over(waiting, self.contender, WITHIN_S)
        result = told(part, self.name, waiting, over)
        for each in over:
            result.tokens += await engine.count(each.seen()[2])
        counts = self.people.counts() - before
        result.calls, result.refused, result.prolonged = counts.calls, counts.refused, counts.prolonged
        result.cpu_s = self.contender.cpu_s() - cpu_s
        return result


@dataclass
class Driven:
    """The engine by itself, with a process of its own: what others have asked is not in its cache."""

    server: Server
    tokens: int
    name: str = "D"

    async def round(self, part: str, asked: Mapping[int, str], engine: Server, *, together: bool = False) -> Result:
        first, complete, tokens = zip(*(await self.server.ask(asked, self.tokens)).values(), strict=True)
        result = Result(part=part, people=len(asked), contender=self.name, first=[*first], complete=[*complete])
        result.took_s, result.tokens = max(complete), sum(tokens)
        return result


def told(part: str, name: str, asked: Sequence[Question], over: Sequence[Question]) -> Result:
    """What people saw."""
    seen = [each.seen() for each in over]
    missing = [each for each in asked if each not in over]
    result = Result(
        part=part,
        people=len(asked),
        contender=name,
        first=[first for first, _, _ in seen] + [each.begun() for each in missing],
        complete=[complete for _, complete, _ in seen] + [math.inf] * len(missing),
    )
    ends = [each.asked_at + complete for each, (_, complete, _) in zip(over, seen, strict=True)]
    result.took_s = max(ends) - min(each.asked_at for each in asked) if over else 0.0
    return result


async def in_turn(
    bots: Sequence[Bot | Driven], part: str, people: int, rounds: int, engine: Server, *, together: bool = False
) -> AsyncIterator[Result]:
    """Whoever comes later has the warmer machine, so the order goes on by one each round."""
    for number in range(rounds):
        asked = questions(people)
        for bot in (*bots[number % len(bots) :], *bots[: number % len(bots)]):
            if isinstance(bot, Bot):
                await bot.people.introduce([*asked], bot.contender)
        for bot in (*bots[number % len(bots) :], *bots[: number % len(bots)]):
            yield await bot.round(part, asked, engine, together=together)


async def warm(bots: Sequence[Bot | Driven], people: int, engine: Server) -> None:
    """Everybody has answered before, so that imports and the prompt's common beginning are nobody's loss."""
    async for result in in_turn(bots, "warm", people, 1, engine):
        print(line(result), flush=True)


@asynccontextmanager
async def on_telegram(engine: Server, tokens: int, *, threads: bool) -> AsyncIterator[list[Bot]]:
    """A, B and perhaps C, each with a server of its own."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bots: list[Bot] = []
        for name in "ABC" if threads else "AB":
            wire = await stack.enter_async_context(telegram(Rules.strict()))
            source = "threads" if name == "C" else f"{engine.address}/v1"
            starts = partyline(wire, folder, tokens) if name == "A" else usual_bot(wire, source, tokens)
            bots.append(Bot(name, TelegramPeople(wire), await stack.enter_async_context(starts)))
            await until(lambda wire=wire: "getUpdates" in wire.methods)  # type: ignore[misc]
        yield bots


async def telegram_parts(plan: Plan) -> AsyncIterator[Result]:
    """`private`, `group` and `busy`."""
    threads = "private" in plan.parts and bool({*plan.crowds} & {*THREADS})
    async with llama() as engine, llama() as driven, on_telegram(engine, plan.tokens, threads=threads) as bots:
        ours: list[Bot | Driven] = [*bots[:2], Driven(driven, plan.tokens)]
        await warm(ours, APART, engine)
        if threads:
            await warm(bots[2:], 1, engine)
        if "private" in plan.parts:
            for people in plan.crowds:
                async for result in in_turn(ours, "private", people, PRIVATE[people] * plan.rounds, engine):
                    yield result
            for people in {*plan.crowds} & {*THREADS}:
                async for result in in_turn(bots[2:], "private", people, plan.rounds, engine):
                    yield result
        if "group" in plan.parts:
            async for result in in_turn(bots[:2], "group", TOGETHER, plan.rounds, engine, together=True):
                yield result
        if "busy" in plan.parts:
            async with busy_process():
                async for result in in_turn(bots[:2], "busy", 1, plan.rounds, engine):
                    yield result


async def discord_parts(plan: Plan) -> AsyncIterator[Result]:
    """Eight channels with a person each, and one with four."""
    async with llama() as engine, AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bots: list[Bot] = []
        for name in "AB":
            wire = DiscordServer()
            wire.edits = wire.sends = Limit()
            await stack.enter_async_context(wire.serving())
            rooms = [wire.room(f"room {number}") for number in range(2 + 2 * plan.rounds * (APART + 1) + APART)]
            source = f"{engine.address}/v1"
            starts = partyline(wire, folder, plan.tokens) if name == "A" else usual_bot(wire, source, plan.tokens)
            bots.append(Bot(name, DiscordPeople(wire, rooms=rooms), await stack.enter_async_context(starts)))
            await until(lambda wire=wire: bool(wire.identified))  # type: ignore[misc]
        await warm(bots, APART, engine)
        async for result in in_turn(bots, "discord", APART, plan.rounds, engine):
            yield result
        async for result in in_turn(bots, "discord, together", TOGETHER, 2 * plan.rounds, engine, together=True):
            yield result


async def start_part(plan: Plan) -> AsyncIterator[Result]:
    """From a start to the first poll (`first`), and to the first words for somebody who has written before it
    (`complete`). The usual bot's server runs already; Partyline loads its model in this time."""
    async with llama() as engine:
        for _ in range(STARTS * plan.rounds):
            for name in "AB":
                with TemporaryDirectory() as folder:
                    yield await _start(name, Path(folder), engine, plan.tokens)


async def _start(name: str, folder: Path, engine: Server, tokens: int) -> Result:
    async with telegram(Rules.strict()) as wire:
        asked = await TelegramPeople(wire).ask(questions(1), together=False)
        began = time.monotonic()
        starts = partyline(wire, folder, tokens) if name == "A" else usual_bot(wire, f"{engine.address}/v1", tokens)
        async with starts as contender:
            await until(lambda: "getUpdates" in wire.methods, every_s=0.002)
            polled_s = time.monotonic() - began
            over = await until_over(asked, contender, WITHIN_S)
            first = [each.seen()[0] for each in over] or [math.inf]
    return Result(part="start", people=1, contender=name, first=[polled_s], complete=first)


def written_script(folder: Path, tokens: int) -> Path:
    """What the engine without weights answers: as many tokens as the others, at a rate of its own."""
    path = folder / "script.jsonl"
    answer = " ".join(f"word{number:03}" for number in range(tokens))
    path.write_text(
        json.dumps({"match": "", "answer": answer, "tokens_per_s": SCRIPTED_RATE, "first_token_s": SCRIPTED_FIRST_S})
    )
    return path


async def growth_part(plan: Plan) -> AsyncIterator[Result]:
    """So many people write within one second, over an engine that has a slot for 256."""
    for people, name in sorted({(people, name) for name, each in GROWTH.items() for people in each}):
        yield await crowd_of(name, people, plan)


async def crowd_of(name: str, people: int, plan: Plan) -> Result:
    """One such crowd, and a process of its own for it."""
    with TemporaryDirectory() as folder:
        script = await asyncio.to_thread(written_script, Path(folder), plan.tokens)
        async with telegram(Rules.strict()) as wire, AsyncExitStack() as stack:
            if name == "A":
                starts = partyline(wire, Path(folder), plan.tokens, **roomy(script))
            else:
                address = await stack.enter_async_context(scripted_server(script, SCRIPTED_SLOTS))
                starts = usual_bot(wire, address, plan.tokens)
            contender = await stack.enter_async_context(starts)
            await until(lambda: "getUpdates" in wire.methods)
            return await _crowd(name, people, plan.tokens, TelegramPeople(wire), contender)


def roomy(script: Path) -> dict[str, str]:
    """Settings with which the engine without weights has a slot, or a place, for everybody."""
    return {
        "PARTYLINE_MODEL": f"scripted:{script}",
        "PARTYLINE_INFERENCE__SLOTS": str(SCRIPTED_SLOTS),
        "PARTYLINE_INFERENCE__MAX_WAITING": "2000",
    }


async def _crowd(name: str, people: int, tokens: int, everybody: TelegramPeople, contender: Contender) -> Result:
    await until_over(await everybody.ask(questions(1), together=False), contender, WITHIN_S)  # what is loaded once
    before, cpu_s, memory_mib = everybody.counts(), contender.cpu_s(), contender.memory_mib()
    waiting: list[Question] = []
    began = time.monotonic()
    for seed, text in questions(people).items():
        waiting += await everybody.ask({seed: text}, together=False)
        await asyncio.sleep(max(0.0, began + len(waiting) / people - time.monotonic()))
    over = await until_over(waiting, contender, WITHIN_S)
    result = told("growth", name, waiting, over)
    counts = everybody.counts() - before
    result.calls, result.refused, result.prolonged = counts.calls, counts.refused, counts.prolonged
    result.tokens = tokens * len(over)
    result.cpu_s, result.memory_mib = contender.cpu_s() - cpu_s, contender.memory_mib() - memory_mib
    return result


def line(result: Result) -> str:
    """One round, for whoever waits for the end."""
    refused = f"  {result.refused} of {result.calls} calls refused" if result.refused else ""
    first, complete = max(result.first), max(result.complete)
    what = f"{result.part:18}{result.people:5} {result.contender}"
    return f"{what}  first {first:7.2f} s  complete {complete:7.2f} s  {result.tokens:6} tokens{refused}"


def all_parts(plan: Plan) -> Iterator[AsyncIterator[Result]]:
    if {"private", "group", "busy"} & {*plan.parts}:
        yield telegram_parts(plan)
    if "discord" in plan.parts:
        yield discord_parts(plan)
    if "start" in plan.parts:
        yield start_part(plan)
    if "growth" in plan.parts:
        yield growth_part(plan)
