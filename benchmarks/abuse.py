"""One known person asks every few seconds while others abuse the queue: `python -m benchmarks.abuse`.

At the service, over a scripted engine of 8 slots whose answers take 3 s. Whoever is refused asks again at once.

    guests     1,000 new guests of the page, two requests each at a time
    accounts   8 new accounts of another platform, in ten chats each

Goals: the person is let in on every try, and the 95th percentile of first words is at most twice what it is alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path

from inference.api import Busy, ChatRequest, Finished, Message, Sampling, Standing
from inference.engines.scripted import ScriptedEngine
from inference.serving.service import LocalInference

SLOTS = 8
GUESTS, ACCOUNTS, CHATS = 1_000, 8, 10
AGAIN_S = 0.5
"""How soon a client that was refused asks again; the service would like more."""
MOST = 2.0


async def ask(inference: LocalInference, id: str, owner: str, standing: Standing) -> float | None:
    """Seconds to the first words; None if it is refused."""
    question = (Message("user", "a question"),)
    request = ChatRequest(id=id, messages=question, sampling=Sampling(), owner=owner, standing=standing)
    try:
        async with aclosing(inference.stream(request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.timings.time_to_first_token_s
    except Busy:
        return None
    raise RuntimeError("a stream ended without Finished")


@asynccontextmanager
async def crowd(inference: LocalInference, people: list[tuple[str, Standing]]) -> AsyncIterator[None]:
    """Everybody asks again and again."""
    numbers = count()

    async def hammer(owner: str, standing: Standing) -> None:
        while True:
            if await ask(inference, f"{owner} {next(numbers)}", owner, standing) is None:
                await asyncio.sleep(AGAIN_S)

    async with asyncio.TaskGroup() as tasks:
        hammering = [tasks.create_task(hammer(*person)) for person in people]
        await asyncio.sleep(2)
        yield
        for task in hammering:
            task.cancel()


async def person(inference: LocalInference, seconds: float, every_s: float) -> list[float | None]:
    """First words of each try."""
    async with asyncio.TaskGroup() as tasks:
        tries = []
        for number in range(max(2, round(seconds / every_s))):
            asking = ask(inference, f"mine {time.monotonic()} {number}", "telegram:4711", "known")
            tries.append(tasks.create_task(asking))
            await asyncio.sleep(every_s)
    return [each.result() for each in tries]


def p95(tries: list[float | None]) -> float:
    return statistics.quantiles([each for each in tries if each is not None], n=20, method="inclusive")[-1]


async def measure(seconds: float, every_s: float, guests: int = GUESTS) -> bool:
    """Prints a line for each case; whether every goal holds."""
    everybody: dict[str, list[tuple[str, Standing]]] = {
        "guests": [(f"web:{number % guests}", "guest") for number in range(2 * guests)],
        "accounts": [(f"discord:{number % ACCOUNTS}", "new") for number in range(ACCOUNTS * CHATS)],
    }
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.jsonl"
        line = {"match": ".", "answer": "word " * 90, "tokens_per_s": 30, "first_token_s": 0.3}
        script.write_text(json.dumps(line))
        inference = LocalInference(ScriptedEngine(script, slots=SLOTS), clock=time.monotonic)
        await inference.start()
        alone = p95(await person(inference, seconds, every_s))
        print(f"{'':10}{'let in':>12}{'first words, p95':>20}{'of alone':>10}\n{'alone':10}{'':12}{alone:18.2f} s")
        for name, people in everybody.items():
            async with crowd(inference, people):
                tries = await person(inference, seconds, every_s)
            let_in, ratio = sum(each is not None for each in tries), p95(tries) / alone
            print(f"{name:10}{let_in:6} of {len(tries):2}{p95(tries):18.2f} s{ratio:10.2f}", flush=True)
            holds = holds and let_in == len(tries) and ratio <= MOST
        await inference.close()
    return holds


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0, help="of each case")
    chosen = options.parse_args()
    return 0 if asyncio.run(measure(chosen.seconds, 5.0)) else 1


if __name__ == "__main__":
    sys.exit(main())
