"""One person alone against the same person beside somebody with 20 requests waiting: the wait for the first token.

`python -m benchmarks.fairness` uses the demo model in one process, the two cases in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from inference.api import ChatRequest, Finished, Inference, Message, Sampling
from inference.engine_factory import demo_model, engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.queueing.admission import AdmissionBounds
from inference.serving.service import LocalInference

WAITING = 20
WANTED = 1.5


async def ask(inference: Inference, owner: str, number: int, tokens: int) -> float:
    """Seconds to the first token; every question is a new one, so that no cache shortens it."""
    question = Message("user", f"Question {number} of {owner}: write a long story about a lighthouse.")
    sampling = Sampling(max_new_tokens=tokens, seed=number)
    request = ChatRequest(id=f"{owner} {number}", messages=(question,), sampling=sampling, owner=owner)
    async with aclosing(inference.stream(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event.timings.time_to_first_token_s or event.timings.total_s
    raise RuntimeError("a stream ended without Finished")


@asynccontextmanager
async def hog(inference: Inference, run: int) -> AsyncIterator[None]:
    """Somebody who always has `WAITING` requests waiting, and as many running as they are given."""

    async def again(first: int) -> None:
        for number in range(first, first + 1_000_000, 1000):
            await ask(inference, "hog", number, 200)

    async with asyncio.TaskGroup() as tasks:
        crowd = [tasks.create_task(again(run * 10**9 + n)) for n in range(WAITING + slots(inference))]
        await asyncio.sleep(2)
        yield
        for task in crowd:
            task.cancel()


def slots(inference: Inference) -> int:
    return inference.load.slots["text"] if isinstance(inference, LocalInference) else 0


async def waits(inference: Inference, run: int, count: int) -> list[float]:
    return [await ask(inference, "quiet", run * 1000 + number, 8) for number in range(count)]


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


async def compare(runs: int, count: int, per_person: int) -> float:
    bounds = AdmissionBounds(max_waiting_per_owner=64, max_active_per_owner=per_person)
    inference = LocalInference(engine_for("demo", LlamaOptions()), bounds=bounds, clock=time.monotonic)
    await inference.start()
    await waits(inference, 0, 2)
    ratios = []
    print(f"{demo_model().name}, {count} questions a case, at most {per_person} slots for one person")
    print(f"{'':8}{'alone, p95':>14}{f'beside {WAITING}, p95':>18}{'ratio':>8}")
    for run in range(1, runs + 1):
        alone = p95(await waits(inference, 2 * run, count))
        async with hog(inference, run):
            beside = p95(await waits(inference, 2 * run + 1, count))
        ratios.append(beside / alone)
        print(f"run {run:<4}{alone:12.3f} s{beside:16.3f} s{ratios[-1]:8.2f}", flush=True)
    await inference.close()
    return statistics.median(ratios)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--questions", type=int, default=20)
    options.add_argument("--per-person", type=int, default=2)
    chosen = options.parse_args()
    median = asyncio.run(compare(chosen.runs, chosen.questions, chosen.per_person))
    print(f"median ratio {median:.2f} (wanted: at most {WANTED})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
