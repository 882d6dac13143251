"""Asks an inference service as many people would, all at once."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from contextlib import aclosing

from adapters.bench.verdict import Crowd, Seen
from inference.api import Busy, ChatRequest, Finished, Inference, Message, Sampling, Text, Thinking

_numbers = itertools.count(1)


async def crowd(inference: Inference, people: int, tokens: int, tick: Callable[[float], None]) -> Crowd:
    """Everybody asks for a story of about `tokens` tokens in the same instant. Raises Unavailable, Interrupted.

    Args:
        tick: hears the share of the words that are there, about.
    """
    pieces = itertools.count(1)

    def more() -> None:
        tick(next(pieces) / (people * tokens))

    began = time.monotonic()
    answers = await asyncio.gather(*(_answer(inference, tokens, more) for _ in range(people)))
    took_s = time.monotonic() - began
    return Crowd.of([seen for seen, _ in answers], sum(count for _, count in answers) / took_s)


async def _answer(inference: Inference, tokens: int, more: Callable[[], None]) -> tuple[Seen, int]:
    """What one person saw, and the tokens of their answer. Reasoning counts: a person sees that it goes on."""
    number = next(_numbers)
    words, first, last, count = "", math.inf, math.inf, 0
    began = time.monotonic()
    try:
        async with aclosing(inference.stream(_request(number, tokens))) as events:
            async for event in events:
                if isinstance(event, Text | Thinking):
                    last = time.monotonic() - began
                    first = min(first, last)
                    words += event.text
                    more()
                elif isinstance(event, Finished):
                    count = event.usage.completion_tokens + event.usage.thinking_tokens
    except Busy:  # the queue is full: whoever reads that sentence was not served
        return Seen(math.inf, 0.0), 0
    return Seen(first, _rate(len(words.split()), last - first)), count


def _rate(words: int, seconds: float) -> float:
    """Words a minute; an answer that came in one piece came as fast as can be."""
    if words == 0:
        return 0.0
    return 60 * words / seconds if seconds > 0 else math.inf


def _request(number: int, tokens: int) -> ChatRequest:
    question = Message("user", f"Write a long story about person {number} and a lighthouse.")
    sampling = Sampling(max_new_tokens=tokens, min_new_tokens=tokens, thinking_budget=tokens, seed=number)
    return ChatRequest(id=f"bench {number}", messages=(question,), sampling=sampling, owner=f"bench:{number}")
