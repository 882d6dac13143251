"""One GPU, many people: the transformers engine against the library's own manager and its static batch.

`python -m benchmarks.gpu` needs a GPU and no files: the weights are random, in the sizes of Llama 3.2 1B and Llama 3.1
8B, so the text means nothing and takes as long as any. Prints tokens a second of all people together. With
`--shapes tiny` it runs anywhere, to try the script.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig, LlamaConfig

from benchmarks.managers import await_answers
from inference.api import ChatRequest, Message, Sampling
from inference.engines.port import Opened, Piece
from inference.engines.transformers import TransformersEngine, TransformersOptions, attention, loading
from inference.engines.transformers.prompts import TokenizedPrompt
from inference.engines.transformers.sampling import Row, Sampler

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "head_dim": 64},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "head_dim": 128},
}
PROMPT_TOKENS = 200
_SPREAD = 7.0
"""Standard deviation of the logits."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Bench:
    """A model and prompts for so many people; each way returns tokens a second, and the longest wait for a text."""

    def __init__(self, shape: str, tokens: int) -> None:
        config = LlamaConfig(
            **SHAPES[shape],
            num_attention_heads=32,
            num_key_value_heads=8,
            vocab_size=128_256,
            max_position_embeddings=8192,
            tie_word_embeddings=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        with torch.device(DEVICE):
            self.model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
        # As sure of the next token as real models are: with flat logits a sampler has all of the vocabulary to look at.
        self.model.lm_head.weight.data.normal_(0, _SPREAD / config.hidden_size**0.5)
        self.tokens = tokens
        self.vocabulary = config.vocab_size

    def prompts(self, people: int) -> list[list[int]]:
        dice = torch.Generator().manual_seed(people)
        return [torch.randint(100, 100_000, (PROMPT_TOKENS,), generator=dice).tolist() for _ in range(people)]

    def settings(self, at: int) -> Sampling:
        return Sampling(temperature=0.3 + 0.01 * at, top_p=0.9, seed=at, max_new_tokens=self.tokens)

    def options(self, people: int) -> TransformersOptions:
        return TransformersOptions(slots=people, context_tokens=1024)

    def ours(self, people: int) -> tuple[float, float]:
        batch = loading._started(self.model, self.options(people), 1024, Sampler())

        def submit(prompts: Sequence[list[int]]) -> None:
            for at, prompt in enumerate(prompts):
                row = Row(self.settings(at), prompt, room=self.tokens)
                batch.enter(f"{at} {time.monotonic()}", prompt, row, most=self.tokens, end_ids=[])

        return self._timed(batch, submit, people)

    def library(self, people: int) -> tuple[float, float]:
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, temperature=0.7, top_p=0.9, top_k=0, eos_token_id=-1, max_new_tokens=self.tokens
        )
        config = loading._batching(
            self.options(people), 1024, self.model.device, flash=loading._has_flash(self.model), graphs=False
        )
        own = ContinuousBatchingConfig(
            page_size=config.page_size,
            num_blocks=config.num_blocks,
            max_batch_tokens=config.max_batch_tokens,
            max_requests_per_batch=people,
            per_request_processors=True,
        )
        manager = self.model.init_continuous_batching(settings, own)
        with torch.inference_mode():
            manager.warmup()
            manager.start()

        def submit(prompts: Sequence[list[int]]) -> None:
            for at, prompt in enumerate(prompts):
                chosen = self.settings(at)
                name = f"{at} {time.monotonic()}"
                manager.add_request(
                    prompt, name, max_new_tokens=self.tokens, temperature=chosen.temperature, top_p=chosen.top_p
                )

        return self._timed(manager, submit, people)

    def static(self, people: int) -> tuple[float, float]:
        """One `generate` with the same settings for all."""
        ids = torch.tensor(self.prompts(people), device=DEVICE)
        took = []
        for _ in range(2):
            began = time.perf_counter()
            with torch.inference_mode():
                rows = self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    temperature=0.7,
                    top_p=0.9,
                    top_k=0,
                    min_new_tokens=self.tokens,
                    max_new_tokens=self.tokens,
                    pad_token_id=0,
                )
                rows.tolist()
            took.append(time.perf_counter() - began)
        return people * self.tokens / took[-1], 0.0

    def engine(self, people: int) -> tuple[float, float]:
        """The same through the engine's face, texts and all."""
        engine = TransformersEngine("random", self.options(people))
        return asyncio.run(self._engine(engine, people))

    async def _engine(self, engine: TransformersEngine, people: int) -> tuple[float, float]:
        batch = await asyncio.to_thread(loading._started, self.model, self.options(people), 1024, Sampler())
        engine._loaded = loading.Loaded(
            batch=batch,
            prompts=_Prompts(self.prompts(2 * people)),  # type: ignore[arg-type]
            tokenizer=_Words(),
            end_ids=frozenset(),
            hidden=frozenset(),
            vocabulary=self.vocabulary,
            context_tokens=1024,
            reference="random",
            revision="",
        )
        rate = wait = 0.0
        for _ in range(2):
            began = time.perf_counter()
            waits = await asyncio.gather(*(self._answer(engine, at) for at in range(people)))
            rate = people * self.tokens / (time.perf_counter() - began)
            wait = max(waits)
        await asyncio.to_thread(batch.stop, hard_stop=True)
        return rate, wait

    async def _answer(self, engine: TransformersEngine, at: int) -> float:
        request = ChatRequest(id=str(at), messages=(Message("user", "x"),), sampling=self.settings(at), owner=str(at))
        began, first, tokens = time.perf_counter(), 0.0, 0
        async with aclosing(engine.generate(request)) as outputs:
            async for output in outputs:
                if isinstance(output, Opened):
                    continue
                first = first or time.perf_counter() - began
                tokens += output.tokens if isinstance(output, Piece) else 0
        if tokens != self.tokens:
            raise RuntimeError(f"{tokens} tokens instead of {self.tokens}")
        return first

    def _timed(self, manager: Any, submit: Callable[[Sequence[list[int]]], None], people: int) -> tuple[float, float]:
        """The second of two rounds with the same number of people."""
        rate = 0.0
        prompts = self.prompts(2 * people)
        for part in (prompts[:people], prompts[people:]):
            began = time.perf_counter()
            submit(part)
            await_answers(manager, people)
            rate = people * self.tokens / (time.perf_counter() - began)
        manager.stop(hard_stop=True)
        gc.collect()
        torch.cuda.empty_cache()
        return rate, 0.0


class _Prompts:
    """Ready token ids in place of a chat template."""

    reasoning = False

    def __init__(self, prompts: list[list[int]]) -> None:
        self._prompts = prompts
        self._next = 0

    def encode(self, messages: Sequence[Message], prefix: str) -> TokenizedPrompt:
        self._next += 1
        return TokenizedPrompt(self._prompts[(self._next - 1) % len(self._prompts)], thinking=False, said=0)


class _Words:
    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join(f" w{token}" for token in ids)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shapes", nargs="+", choices=SHAPES, default=["1b", "8b"])
    options.add_argument("--people", nargs="+", type=int, default=[1, 16, 64])
    options.add_argument("--tokens", type=int, default=128)
    options.add_argument("--only", nargs="+", default=["ours", "engine", "library", "static"])
    chosen = options.parse_args()
    print(torch.cuda.get_device_name(0) if DEVICE == "cuda" else "no GPU", f"torch {torch.__version__}")
    for shape in chosen.shapes:
        bench = Bench(shape, chosen.tokens)
        print(f"{shape}: {'flash attention' if loading._has_flash(bench.model) else attention.fitting(bench.model)}")
        for people in chosen.people:
            for name in chosen.only:
                rate, wait = getattr(bench, name)(people)
                waited = f"   first text after {wait:.2f} s" if wait else ""
                print(f"{people:4} people {name:10}{rate:9.0f} tokens/s{waited}", flush=True)
        del bench
        gc.collect()
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
