"""Measures the configured model with more and more people, and says how many it serves."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from adapters.app import in_memory
from adapters.bench.measuring import crowd
from adapters.bench.verdict import Crowd, in_words, next_size, serves, table
from adapters.data.progress import progress
from adapters.process.log_format import escaped
from config.settings import Settings

_WARM_TOKENS = 8


async def bench(settings: Settings, ready: Callable[[str], None], *, tokens: int, most: int, as_json: bool) -> int:
    """Prints a table and a verdict, or both as JSON; bars go to stderr. Raises Unavailable."""
    async with in_memory(_open_to(most, settings), ready) as app:
        inference = app.inference
        await inference.ready()
        await crowd(inference, 1, _WARM_TOKENS, lambda share: None)
        crowds: list[Crowd] = []
        while (people := next_size(crowds, most)) is not None:
            with progress(f"{people:4} {'person' if people == 1 else 'people'}") as tick:
                crowds.append(await crowd(inference, people, tokens, tick))
        what = f"{inference.info.name} {_place(settings)}"
    slots = settings.inference.slots
    if as_json:
        print(json.dumps(_told(crowds, what, slots, tokens, most), indent=1))
    else:
        print("\n".join([*table(crowds), "", in_words(crowds, escaped(what), slots, most)]))
    return 0


def _open_to(most: int, settings: Settings) -> Settings:
    """Pictures are not measured, and a queue that is full would say nothing about the model."""
    waiting = max(settings.inference.max_waiting, most)
    changes = {"inference": settings.inference.model_copy(update={"max_waiting": waiting}), "captioner": ""}
    return settings.model_copy(update=changes)


def _place(settings: Settings) -> str:
    """Where the model runs."""
    if "://" in settings.model:
        return "on its server"
    torch: Any = sys.modules.get("torch")  # loaded by the engine that uses it
    if torch is not None and torch.cuda.is_available():
        return f"on {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"on {cores} CPU core{'s' if cores != 1 else ''}"


def _told(crowds: list[Crowd], what: str, slots: int, tokens: int, most: int) -> dict[str, Any]:
    rows = [
        {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(each).items()
        }
        | {"at_reading_speed": each.is_served}
        for each in sorted(crowds, key=lambda each: each.people)
    ]
    verdict = in_words(crowds, what, slots, most)
    return {
        "model": what,
        "slots": slots,
        "tokens": tokens,
        "crowds": rows,
        "serves": serves(crowds),
        "verdict": verdict,
    }
