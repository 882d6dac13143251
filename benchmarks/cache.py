"""What the prefix cache tells of others, and what it costs that it does not: `python -m benchmarks.cache`.

Through the service, with the demo model by llama.cpp or a small checkpoint by transformers:

    fresh      a prompt that nobody has asked
    own        one's own prompt once more
    other's    somebody else's prompt; the goal is 0.9 to 1.1 times as long as a fresh one
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from inference.api import ChatRequest, Finished, Message, Sampling
from inference.engines.llamacpp import LlamaCppEngine, LlamaOptions
from inference.engines.port import Engine
from inference.models import demo_model
from inference.service import LocalInference

WORDS = 120
"""Of a prompt."""
LOW, HIGH = 0.9, 1.1


async def ask(inference: LocalInference, owner: str, number: int) -> tuple[float, int]:
    """(seconds to the first token, tokens of the prompt that were not computed again)"""
    words = " ".join(f"word{number}x{each}" for each in range(WORDS))
    sampling = Sampling(max_new_tokens=2, seed=1, thinking_budget=None)
    request = ChatRequest(id=f"{owner} {number}", messages=(Message("user", words),), sampling=sampling, owner=owner)
    async with aclosing(inference.stream(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event.timings.time_to_first_token_s or event.timings.total_s, event.usage.cached_tokens
    raise RuntimeError("a stream ended without Finished")


async def measure(engine: Engine, name: str, rounds: int) -> float:
    inference = LocalInference(engine, clock=time.monotonic)
    await inference.start()
    await ask(inference, "warm", 0)
    taken: dict[str, list[tuple[float, int]]] = {"fresh": [], "own": [], "other's": []}
    for number in range(1, rounds + 1):
        taken["fresh"].append(await ask(inference, "telegram:1", number))
        taken["own"].append(await ask(inference, "telegram:1", number))
        taken["other's"].append(await ask(inference, f"discord:{number}", number))
    await inference.close()
    fresh = statistics.median(seconds for seconds, _ in taken["fresh"])
    print(f"\n{name}, {rounds} rounds\n{'':10}{'first token':>14}{'of fresh':>10}{'cached':>8}")
    for case, times in taken.items():
        print(f"{case:10}{_median(times):12.3f} s{_median(times) / fresh:10.2f}{max(each for _, each in times):8}")
    return _median(taken["other's"]) / fresh


def _median(times: Sequence[tuple[float, int]]) -> float:
    return statistics.median(seconds for seconds, _ in times)


async def compare(rounds: int) -> bool:
    from inference.engines.transformers import TransformersEngine, TransformersOptions
    from tests.checkpoints import chatml

    options = LlamaOptions(slots=4, context_tokens=4096)
    ratios = [await measure(LlamaCppEngine(demo_model(), options), "llama.cpp", rounds)]
    with tempfile.TemporaryDirectory() as folder:
        small = TransformersEngine(str(chatml(Path(folder))), TransformersOptions(slots=4, context_tokens=4096))
        ratios.append(await measure(small, "transformers", rounds))
    print(f"\nother's of fresh: {', '.join(f'{ratio:.2f}' for ratio in ratios)} (wanted: {LOW} to {HIGH})")
    return all(LOW <= ratio <= HIGH for ratio in ratios)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    return 0 if asyncio.run(compare(options.parse_args().rounds)) else 1


if __name__ == "__main__":
    sys.exit(main())
