"""What the prefix cache tells of others, and what it costs that it does not: `python -m benchmarks.cache`.

Through the service, with the demo model by llama.cpp or a small checkpoint by transformers. Each round has the three in
another order, and its ratios are of that round alone, so that what else the machine does weighs on all of them:

    fresh      a prompt that nobody has asked
    other's    a prompt that somebody else has asked before; the goal is 0.9 to 1.1 times as long as a fresh one
    own        one's own prompt once more

The tokens of `own` that were not read again are what `other's` would have had without a salt: that is its price.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from inference.api import ChatRequest, Finished, Message, Sampling
from inference.engine_factory import demo_model
from inference.engines.llamacpp.engine import LlamaCppEngine
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.port import Engine
from inference.serving.service import LocalInference

WORDS = 60
"""Of a prompt."""
LOW, HIGH = 0.9, 1.1


@dataclass(frozen=True)
class Asked:
    """Seconds to the first token, and the tokens of the prompt that were not read again."""

    seconds: float
    cached: int


async def ask(inference: LocalInference, owner: str, number: int) -> Asked:
    words = " ".join(f"word{number}x{each}" for each in range(WORDS))
    sampling = Sampling(max_new_tokens=1, seed=1, thinking_budget=None)
    id = f"{owner} {number} {time.monotonic()}"
    request = ChatRequest(id=id, messages=(Message("user", words),), sampling=sampling, owner=owner)
    async with aclosing(inference.stream(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                seconds = event.timings.time_to_first_token_s or event.timings.total_s
                return Asked(seconds, event.usage.cached_tokens)
    raise RuntimeError("a stream ended without Finished")


async def measure(engine: Engine, name: str, rounds: int, within_s: float) -> float:
    """Print a table, and return how long a repeat of somebody else's prompt takes of a fresh one (the median).

    Ends after so many rounds or seconds; five rounds are asked in any case.
    """
    inference = LocalInference(engine, clock=time.monotonic)
    await inference.start()
    await ask(inference, "warm", 0)
    taken: dict[str, list[Asked]] = {"fresh": [], "other's": [], "own": []}
    ends, order = time.monotonic() + within_s, list(taken)
    for number in range(1, rounds + 1):
        if number > 5 and time.monotonic() > ends:
            break
        # The newest prompt of each, so that it is still there if it is kept at all.
        whose = {"fresh": ("telegram:1", 3 * number), "other's": ("discord:2", 3 * number + 1)}
        whose["own"] = ("telegram:1", 3 * number + 2)
        for case in order:
            if case == "other's":
                await ask(inference, "telegram:3", whose[case][1])
            if case == "own":
                await ask(inference, *whose[case])
            taken[case].append(await ask(inference, *whose[case]))
        order = order[1:] + order[:1]
    await inference.close()
    print(f"\n{name}, {len(taken['own'])} rounds\n{'':10}{'first token':>14}{'of fresh':>10}{'cached':>8}")
    ratios = {}
    for case, times in taken.items():
        pairs = zip(times, taken["fresh"], strict=True)
        ratios[case] = statistics.median(one.seconds / fresh.seconds for one, fresh in pairs)
        cached = statistics.median(each.cached for each in times)
        seconds = statistics.median(each.seconds for each in times)
        print(f"{case:10}{seconds:12.3f} s{ratios[case]:10.2f}{cached:8.0f}")
    costs = statistics.median(o.cached - f.cached for o, f in zip(taken["own"], taken["other's"], strict=True))
    print(f"the salt costs {costs:.0f} tokens for each prompt that somebody else has asked, nothing for one's own")
    return ratios["other's"]


async def compare(rounds: int, within_s: float) -> bool:
    from inference.engines.transformers import TransformersEngine, TransformersOptions
    from tests.checkpoints import chatml

    options = LlamaOptions(slots=4, context_tokens=4096)
    ratios = [await measure(LlamaCppEngine(demo_model(), options), "llama.cpp", rounds, within_s)]
    with tempfile.TemporaryDirectory() as folder:
        small = TransformersEngine(str(chatml(Path(folder))), TransformersOptions(slots=4, context_tokens=4096))
        ratios.append(await measure(small, "transformers", rounds, within_s))
    holds = all(LOW <= ratio <= HIGH for ratio in ratios)
    verdict = "holds" if holds else "does not hold"
    print(f"\nother's of fresh: {', '.join(f'{r:.2f}' for r in ratios)} (wanted: {LOW} to {HIGH}): {verdict}")
    return holds


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=21)
    options.add_argument("--seconds", type=float, default=50.0, help="of each engine")
    chosen = options.parse_args()
    return 0 if asyncio.run(compare(chosen.rounds, chosen.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
