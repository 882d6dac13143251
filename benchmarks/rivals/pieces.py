"""Where a usual bot's words come from: a server by the `openai` client, or a thread for each message."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

Pieces = Callable[[str], AsyncGenerator[str, None]]
"""The answer to a question, piece by piece."""


def seed_of(question: str) -> int:
    """Questions name a person by number; the number is the seed, for whoever answers."""
    found = re.search(r"\d+", question)
    return int(found[0]) if found else 0


def pieces(source: str, tokens: int) -> Pieces:
    """`threads`, or the address of a server."""
    return from_threads(tokens) if source == "threads" else from_server(source, tokens)


def from_server(address: str, tokens: int) -> Pieces:
    from openai import AsyncOpenAI

    from benchmarks.rivals.llama import SAMPLING

    client = AsyncOpenAI(base_url=address, api_key="unused")
    named = {"temperature": SAMPLING["temperature"], "top_p": SAMPLING["top_p"]}
    extra = {name: value for name, value in SAMPLING.items() if name not in named}

    async def answer(question: str) -> AsyncGenerator[str, None]:
        stream = await client.chat.completions.create(
            model="default",
            messages=[{"role": "user", "content": question}],
            max_tokens=tokens,
            seed=seed_of(question),
            stream=True,
            extra_body=extra,
            **named,
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return answer


def from_threads(tokens: int) -> Pieces:
    """The pattern of the reference applications: `model.generate` in a thread, and a streamer."""
    import torch
    from transformers import AsyncTextIteratorStreamer, AutoModelForCausalLM, AutoTokenizer

    from benchmarks.checkpoint import dequantised
    from inference.processes.cores import available_cores

    torch.set_num_threads(available_cores())
    folder = dequantised()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)

    async def answer(question: str) -> AsyncGenerator[str, None]:
        turns = [{"role": "user", "content": question}]
        inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        streamer = AsyncTextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_new_tokens": tokens}
        thread = threading.Thread(target=model.generate, kwargs={**inputs, **settings, "streamer": streamer})
        thread.start()
        async for piece in streamer:
            yield piece
        thread.join()

    return answer
