"""What the choice of the next tokens takes: `python -m benchmarks.sampler`, on a GPU where there is one.

Logits as sure of the next token as a model's, and flat ones. The reference puts the whole vocabulary in order and
draws from what top_p leaves of it, as the library's processors do for each request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from inference.api import Sampling
from inference.engines.transformers.sampling import Row, Sampler

VOCABULARIES = (49_152, 128_256)
SPREADS = {"as a model's": 7.0, "flat": 2.0}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
REPEATS = 9


def ours(rows: int, top_p: float) -> Callable[[Tensor], Tensor]:
    sampler, settings = Sampler(), Sampling(temperature=0.8, top_p=top_p, seed=1)
    people = [Row(settings, [1, 2], room=100) for _ in range(rows)]
    return lambda logits: sampler.choose(logits, people, [9] * rows)


def in_order(top_p: float) -> Callable[[Tensor], Tensor]:
    def choose(logits: Tensor) -> Tensor:
        values, ids = (logits / 0.8).sort(-1, descending=True)
        likely = values.softmax(-1)
        likely[likely.cumsum(-1) - likely > top_p] = 0
        return ids.gather(-1, likely.multinomial(1))

    return choose


def took_ms(choose: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    times = []
    for _ in range(REPEATS):
        fresh = logits.clone()
        began = time.perf_counter()
        choose(fresh).tolist()
        times.append((time.perf_counter() - began) * 1e3)
    return median(times[2:])


def main() -> None:
    print(f"{DEVICE}; ms for a step of all rows, and in parentheses with everything in order")
    for vocabulary in VOCABULARIES:
        for name, spread in SPREADS.items():
            for rows in (1, 16):
                logits = spread * torch.randn(rows, vocabulary, device=DEVICE)
                results = []
                for top_p in (0.9, 1.0):
                    own, sorted_ms = took_ms(ours(rows, top_p), logits), took_ms(in_order(top_p), logits)
                    results.append(f"top_p {top_p}: {own:7.2f} ({sorted_ms:7.2f})")
                print(f"{vocabulary:7} tokens, {name:13} {rows:3} rows   " + "   ".join(results), flush=True)


if __name__ == "__main__":
    main()
