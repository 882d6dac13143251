"""One person against eight at once, through the service: tokens a second in all, and the wait for the first token.

`python -m benchmarks.people` uses the demo model in one process, the two cases in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import aclosing

from inference.api import ChatRequest, Finished, Message, Sampling
from inference.engine_factory import demo_model, engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.serving.service import LocalInference

TOKENS = 150


async def answer(inference: LocalInference, name: str) -> Finished:
    sampling = Sampling(max_new_tokens=TOKENS, seed=len(name))
    question = Message("user", f"Write a long story about {name} and a lighthouse.")
    request = ChatRequest(id=name, messages=(question,), sampling=sampling, owner=name)
    async with aclosing(inference.stream(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event
    raise RuntimeError("a stream ended without Finished")


async def crowd(inference: LocalInference, people: int, run: int) -> tuple[float, float]:
    """(tokens a second of all together, longest wait for a first token in seconds)"""
    started = time.perf_counter()
    names = [f"person {run} {number}" for number in range(people)]
    answers = await asyncio.gather(*(answer(inference, name) for name in names))
    took = time.perf_counter() - started
    tokens = sum(finished.usage.completion_tokens for finished in answers)
    return tokens / took, max(finished.timings.time_to_first_token_s or 0.0 for finished in answers)


async def compare(runs: int, threads: int) -> None:
    print(f"{demo_model().name}, {threads or 'all'} threads")
    inference = LocalInference(engine_for("demo", LlamaOptions(threads=threads)), clock=time.monotonic)
    await inference.start()
    await crowd(inference, 1, 0)
    ratios = []
    print(f"{'':8}{'1 person':>14}{'8 people':>14}{'ratio':>8}{'longest wait':>14}")
    for run in range(1, runs + 1):
        one, _ = await crowd(inference, 1, run)
        eight, wait = await crowd(inference, 8, run)
        ratios.append(eight / one)
        print(f"run {run:<4}{one:10.1f} t/s{eight:10.1f} t/s{eight / one:8.2f}{wait:12.2f} s", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} (wanted: at least 1.15)")
    await inference.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=0)
    chosen = options.parse_args()
    asyncio.run(compare(chosen.runs, chosen.threads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
