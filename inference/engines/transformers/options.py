"""How a checkpoint is loaded. Imports nothing: who only configures an engine loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersOptions:
    """How the model is loaded.

    Args:
        slots: how many requests are decoded in one batch.
        context_tokens: prompt and answer of one request; never more than the model was trained for.
        batch_tokens: tokens of all requests in one step. Small steps keep others' text flowing while a long prompt is
            read, and bound the time until a Stop is heard. 0 means 256 on CPUs and 1024 on a GPU.
        threads: on CPUs; 0 means one for each core that this process may use.
        adapter: a LoRA adapter over the model, a folder or a hub id; empty for none.
    """

    slots: int = 8
    context_tokens: int = 4096
    batch_tokens: int = 0
    threads: int = 0
    adapter: str = ""
