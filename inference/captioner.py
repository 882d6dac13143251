"""BLIP captions: `BlipForConditionalGeneration` in a thread of its own. torch is imported with the first picture."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from inference.api import Unavailable
from inference.pictures import decode

log = logging.getLogger(__name__)

_MAX_NEW_TOKENS = 40
# BLIP was trained with 40 text positions; a longer prompt leaves no room for the caption.
_MAX_PROMPT_TOKENS = 30


class BlipCaptioner:
    """A BLIP checkpoint by folder or hub id; loaded when the first picture comes, or by `preload`."""

    def __init__(self, reference: str, *, name: str | None = None, demo: bool = False, device: str = "auto") -> None:
        self._reference = reference
        self._name = name or Path(reference).name
        self._demo = demo
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="captioner")
        self._loaded: tuple[Any, Any] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def demo(self) -> bool:
        return self._demo

    async def preload(self) -> None:
        """Loads the checkpoint now. Raises Unavailable."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def caption(self, image: bytes, prompt: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._caption, image, prompt)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _caption(self, image: bytes, prompt: str) -> str:
        picture = decode(image)
        model, processor = self._load()
        return describe(model, processor, picture, prompt)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load(self._reference, self._device)
            log.info("captioner %s is loaded", self._name)
        return self._loaded


def load(reference: str, device: str = "auto") -> tuple[Any, Any]:
    """The model, ready to generate, and its processor.

    Raises:
        Unavailable: nothing can be loaded from there.
    """
    # The libraries would draw progress bars over the terminal's own text.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch
    from transformers import BlipForConditionalGeneration, BlipProcessor
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Half precision where it is fast; CPUs are slower with it.
    dtype = torch.float32 if device == "cpu" else torch.float16
    try:
        processor = BlipProcessor.from_pretrained(reference)
        model = BlipForConditionalGeneration.from_pretrained(reference, dtype=dtype)
    except (OSError, ValueError) as error:
        raise Unavailable(f"the captioner {reference} cannot be loaded: {error}") from error
    movable: Any = model  # the library's decorated `to` has lost its types
    return movable.to(device).eval(), processor


def describe(model: Any, processor: Any, picture: Any, prompt: str) -> str:
    """The caption of one RGB picture; it begins with `prompt`, if there is one."""
    import torch

    inputs = dict(processor(images=picture, return_tensors="pt"))
    if prompt:
        inputs |= processor.tokenizer(
            prompt, return_tensors="pt", truncation=True, max_length=_MAX_PROMPT_TOKENS, return_token_type_ids=False
        )
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS)
    return str(processor.decode(ids[0], skip_special_tokens=True)).strip()
