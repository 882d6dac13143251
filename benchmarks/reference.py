"""Eight people at once, as chat pages do it and as Partyline does it.

The pattern of the reference applications is a thread for each message, `model.generate` in it, and a
`TextIteratorStreamer`. `python -m benchmarks.reference` runs it, with the weights as they were published (bfloat16) and
in float32, and the service over the default engine for CPUs, in turn, with the same model and sampling. It prints the
tokens a second in all, the 95th percentile of the time to the first token, and medians of the ratios. Nobody is new:
everybody has asked something else before, so that the service knows the beginning that all prompts share.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from multiprocessing import get_context
from typing import Any, TypeVar

from benchmarks.checkpoint import dequantised
from inference.api import ChatRequest, Finished, Message, Sampling
from inference.engine_factory import engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.processes.cores import available_cores
from inference.serving.service import LocalInference

PEOPLE = 8
T = TypeVar("T")
Result = tuple[float, float]
"""Tokens a second of all together, and the 95th percentile of the seconds to the first token."""


def alone(contender: Callable[..., T], *arguments: Any) -> T:
    """In a process of its own, so that neither has the other's threads beside it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(contender, *arguments).result()


def story(person: int) -> str:
    return f"Write a long story about person {person} and a lighthouse."


def capital(person: int) -> str:
    return f"What is the capital of country {person}?"


def reference(dtype: str, tokens: int) -> Result:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(available_cores())
    folder = dequantised()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    _chat(model, tokenizer, capital(0), 2)
    firsts = [0.0] * PEOPLE

    def person(number: int) -> None:
        firsts[number] = _chat(model, tokenizer, story(number), tokens)

    threads = [threading.Thread(target=person, args=(number,)) for number in range(PEOPLE)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return PEOPLE * tokens / (time.perf_counter() - began), _p95(firsts)


def _chat(model: Any, tokenizer: Any, question: str, tokens: int) -> float:
    """One message, answered to the end; the seconds to its first token."""
    from transformers import TextIteratorStreamer

    turns = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "pad_token_id": 0}
    given = {**inputs, **settings, "streamer": streamer, "min_new_tokens": tokens, "max_new_tokens": tokens}
    began = time.perf_counter()
    thread = threading.Thread(target=model.generate, kwargs=given)
    thread.start()
    first = 0.0
    for text in streamer:
        if text and not first:
            first = time.perf_counter() - began
    thread.join()
    return first


async def partyline(tokens: int) -> Result:
    inference = LocalInference(engine_for("demo", LlamaOptions(slots=PEOPLE)), clock=time.monotonic)
    await inference.start()
    try:
        await asyncio.gather(*(_answer(inference, number, capital(number), 2) for number in range(PEOPLE)))
        began = time.perf_counter()
        answers = await asyncio.gather(*(_answer(inference, n, story(n), tokens) for n in range(PEOPLE)))
        took = time.perf_counter() - began
    finally:
        await inference.close()
    said = sum(answer.usage.completion_tokens for answer in answers)
    return said / took, _p95([answer.timings.time_to_first_token_s or 0.0 for answer in answers])


def service(tokens: int) -> Result:
    return asyncio.run(partyline(tokens))


async def _answer(inference: LocalInference, number: int, question: str, tokens: int) -> Finished:
    request = ChatRequest(
        id=f"{number}",
        messages=(Message("user", question),),
        sampling=Sampling(max_new_tokens=tokens, min_new_tokens=tokens, seed=number),
        owner=f"person {number}",
    )
    async with aclosing(inference.stream(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event
    raise RuntimeError("a stream ended without Finished")


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--tokens", type=int, default=32)
    chosen = options.parse_args()
    published, single, ours = "reference, bfloat16", "reference, float32", "partyline"
    print(f"{'':10}" + "".join(f"{name:>26}" for name in (published, single, ours)))
    results: list[dict[str, Result]] = []
    for run in range(1, chosen.runs + 1):
        tokens = chosen.tokens
        results.append(
            {
                published: alone(reference, "bfloat16", tokens),
                single: alone(reference, "float32", tokens),
                ours: alone(service, tokens * 4),
            }
        )
        rates = "".join(f"{rate:12.1f} t/s{first:8.2f} s" for rate, first in results[-1].values())
        print(f"run {run:<6}{rates}", flush=True)
    for other in (published, single):
        rate = statistics.median(run[ours][0] / run[other][0] for run in results)
        first = statistics.median(run[ours][1] / run[other][1] for run in results)
        print(f"to {other}: {rate:.1f} times the tokens (wanted: 8), {first:.2f} of the wait (wanted: at most 0.2)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
