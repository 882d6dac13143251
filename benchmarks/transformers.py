"""Sixteen people with different settings: our batch, the library's own manager, and its static batch.

`python -m benchmarks.transformers` runs the three in turn in one process, with the same weights, prompts, cache and
threads, and prints tokens a second and the ratios of docs/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig

from benchmarks.checkpoint import dequantised
from benchmarks.managers import await_answers
from inference.api import Sampling
from inference.engines.transformers.batch import SharedBatch
from inference.engines.transformers.sampling import Row, Sampler
from inference.processes.cores import available_cores

PEOPLE = 16
SETTINGS = [
    Sampling(temperature=0.3 + 0.05 * at, top_p=0.7 + 0.02 * at, seed=at, max_new_tokens=4096) for at in range(PEOPLE)
]


class Bench:
    """The model and its prompts; each method returns tokens a second."""

    def __init__(self, tokens: int, page: int, dtype: str) -> None:
        torch.set_num_threads(available_cores())
        folder = dequantised()
        self.tokens = tokens
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        stories = [f"Write a long story about person {at} and a lighthouse." for at in range(PEOPLE)]
        self.prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": story}], add_generation_prompt=True, return_dict=False
            )
            for story in stories
        ]
        self.page = page

    def config(self, **more: Any) -> ContinuousBatchingConfig:
        """The same cache for both managers."""
        length = max(map(len, self.prompts)) + self.tokens
        return ContinuousBatchingConfig(
            page_size=self.page,
            num_blocks=PEOPLE * (length // self.page + 2),
            max_batch_tokens=1024,
            max_requests_per_batch=PEOPLE,
            use_async_batching=False,
            **more,
        )

    def ours(self) -> float:
        batch = SharedBatch(self.model, self.config(), Sampler(), own_attention=True)
        return self._timed(batch, lambda: self._submit(batch))

    def theirs(self) -> float:
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, temperature=0.7, top_p=0.9, top_k=0, eos_token_id=-1, max_new_tokens=self.tokens
        )
        manager = self.model.init_continuous_batching(settings, self.config(per_request_processors=True))

        def submit() -> None:
            for number, (prompt, own) in enumerate(zip(self.prompts, SETTINGS, strict=True)):
                manager.add_request(
                    prompt,
                    str(number),
                    max_new_tokens=self.tokens,
                    temperature=own.temperature,
                    top_p=own.top_p,
                )

        return self._timed(manager, submit)

    def static(self, tokens: int, *, greedy: bool) -> float:
        """One `generate` with the same settings for all, which is all that it can do."""
        width = max(map(len, self.prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in self.prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in self.prompts])
        sampled = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0}
        settings = {"do_sample": False} if greedy else sampled
        began = time.perf_counter()
        with torch.inference_mode():
            self.model.generate(
                ids,
                attention_mask=mask,
                **settings,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=0,
            )
        return PEOPLE * tokens / (time.perf_counter() - began)

    def _submit(self, batch: SharedBatch) -> None:
        for number, (prompt, own) in enumerate(zip(self.prompts, SETTINGS, strict=True)):
            batch.enter(str(number), prompt, Row(own, prompt, room=self.tokens), most=self.tokens, end_ids=[])

    def _timed(self, manager: Any, submit: Callable[[], None]) -> float:
        with _running(manager):
            began = time.perf_counter()
            submit()
            await_answers(manager, PEOPLE)
            return PEOPLE * self.tokens / (time.perf_counter() - began)


@contextmanager
def _running(manager: Any) -> Iterator[None]:
    with torch.inference_mode():
        manager.start()
    try:
        yield
    finally:
        manager.stop(hard_stop=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--tokens", type=int, default=64)
    options.add_argument("--page", type=int, default=32)
    options.add_argument("--dtype", default="auto")
    chosen = options.parse_args()
    bench = Bench(chosen.tokens, chosen.page, chosen.dtype)
    bench.static(4, greedy=False)
    print(f"{'':8}" + "".join(f"{name:>14}" for name in ("ours", "library", "static", "static, greedy")))
    rates = []
    for run in range(1, chosen.runs + 1):
        statics = [bench.static(bench.tokens, greedy=greedy) for greedy in (False, True)]
        rates.append([bench.ours(), bench.theirs(), *statics])
        print(f"run {run:<4}" + "".join(f"{rate:14.1f}" for rate in rates[-1]), flush=True)
    library, static, greedy = (statistics.median(run[0] / run[at] for run in rates) for at in (1, 2, 3))
    print(
        f"ours to the library {library:.2f} (wanted: 1.3), to static {static:.2f} (0.8), to greedy static {greedy:.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
