"""Eight people at once, as chat pages do it and as Partyline does it.

The pattern of the reference applications is a thread for each message, `model.generate` in it, and a
`TextIteratorStreamer`. `python -m benchmarks.reference` runs it and the service over the default engine for CPUs, with
the same model and sampling, and prints tokens a second in all and the 95th percentile of the time to the first token.
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
from typing import Any

from benchmarks.checkpoint import dequantised
from inference.api import ChatRequest, Finished, Message, Sampling
from inference.engines.llamacpp import LlamaOptions, available_cores
from inference.models import engine_for
from inference.service import LocalInference

PEOPLE = 8
Result = tuple[float, float]
"""Tokens a second of all together, and the 95th percentile of the seconds to the first token."""


def alone(contender: Callable[[int], Result], tokens: int) -> Result:
    """In a process of its own, so that neither has the other's threads beside it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(contender, tokens).result()


def story(person: int) -> str:
    return f"Write a long story about person {person} and a lighthouse."


def reference(tokens: int) -> Result:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(available_cores())
    folder = dequantised()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    _chat(model, tokenizer, 0, 2)
    firsts = [0.0] * PEOPLE

    def person(number: int) -> None:
        firsts[number] = _chat(model, tokenizer, number, tokens)

    threads = [threading.Thread(target=person, args=(number,)) for number in range(PEOPLE)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return PEOPLE * tokens / (time.perf_counter() - began), _p95(firsts)


def _chat(model: Any, tokenizer: Any, number: int, tokens: int) -> float:
    """One message, read to its end; the seconds to its first token."""
    from transformers import TextIteratorStreamer

    turns = [{"role": "user", "content": story(number)}]
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
        await _answer(inference, 0, 2)
        began = time.perf_counter()
        answers = await asyncio.gather(*(_answer(inference, number, tokens) for number in range(PEOPLE)))
        took = time.perf_counter() - began
    finally:
        await inference.close()
    said = sum(answer.usage.completion_tokens for answer in answers)
    return said / took, _p95([answer.timings.time_to_first_token_s or 0.0 for answer in answers])


def service(tokens: int) -> Result:
    return asyncio.run(partyline(tokens))


async def _answer(inference: LocalInference, number: int, tokens: int) -> Finished:
    request = ChatRequest(
        id=f"{number} {tokens}",
        messages=(Message("user", story(number)),),
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
    options.add_argument("--tokens", type=int, default=32)
    tokens = options.parse_args().tokens
    (slow, late), (fast, soon) = alone(reference, tokens), alone(service, tokens * 4)
    print(f"{'':14}{'tokens/s':>10}{'first token p95':>18}")
    print(f"{'reference':14}{slow:10.1f}{late:16.2f} s")
    print(f"{'partyline':14}{fast:10.1f}{soon:16.2f} s")
    print(f"ratios: {fast / slow:.1f} (wanted: at least 8), {soon / late:.2f} (wanted: at most 0.2)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
