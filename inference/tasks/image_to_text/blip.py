"""BLIP checkpoints: loading them, and captions or answers for a batch of pictures. Needs torch, so import it late."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.api import Unavailable
from inference.processes.gc_freeze import frozen_allocations

MAX_NEW_TOKENS = 40
# BLIP was trained with 40 text positions; a longer prompt leaves no room for the caption.
_MAX_PROMPT_TOKENS = 30
_QUESTION = "what is in the picture?"


@dataclass(frozen=True, slots=True)
class Blip:
    """A checkpoint, ready to generate. `answers`: it was trained for questions about pictures, not for captions."""

    model: Any
    processor: Any
    answers: bool

    def pixels(self, picture: Any) -> Any:
        """What the model sees of one RGB picture: float32, [1, 3, side, side]."""
        return self.processor.image_processor(picture, return_tensors="pt")["pixel_values"]

    def describe(self, pixels: Sequence[Any], prompts: Sequence[str]) -> list[str]:
        """A caption that begins with its prompt for each picture, or the answer to the question that the prompt is.

        Prompts of one length are worked on together: padding before a caption's beginning would change the caption.
        """
        import torch

        groups: dict[int, list[int]] = defaultdict(list)
        ids = [self._ids(prompt) for prompt in prompts]
        for index, row in enumerate(ids):
            groups[len(row)].append(index)
        texts = [""] * len(prompts)
        for length, members in groups.items():
            inputs = {"pixel_values": torch.cat([pixels[index] for index in members])}
            if length:
                inputs["input_ids"] = torch.tensor([ids[index] for index in members])
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            for index, text in zip(members, self._generate(inputs), strict=True):
                texts[index] = text
        return texts

    def _ids(self, prompt: str) -> list[int]:
        words = prompt or (_QUESTION if self.answers else "")
        if not words:
            return []
        ids: list[int] = self.processor.tokenizer(words, truncation=True, max_length=_MAX_PROMPT_TOKENS)["input_ids"]
        return ids

    def _generate(self, inputs: dict[str, Any]) -> list[str]:
        import torch

        placed = {name: value.to(self.model.device) for name, value in inputs.items()}
        placed["pixel_values"] = placed["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            rows = self.model.generate(**placed, max_new_tokens=MAX_NEW_TOKENS)
        return [text.strip() for text in self.processor.batch_decode(rows, skip_special_tokens=True)]


@frozen_allocations()
def load(reference: str, device: str = "auto") -> Blip:
    """Loads a folder or a hub id.

    Raises:
        Unavailable: nothing can be loaded from there.
    """
    # The libraries would draw progress bars over the terminal's own text.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipForQuestionAnswering, BlipProcessor
    from transformers.utils import logging as transformers_logging

    from inference.checkpoints.location import folder_of

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = folder_of(reference)
    try:
        processor = BlipProcessor.from_pretrained(folder)
        answers = "BlipForQuestionAnswering" in (BlipConfig.from_pretrained(folder).architectures or ())
        kind: Any = BlipForQuestionAnswering if answers else BlipForConditionalGeneration
        model = kind.from_pretrained(folder, dtype=_dtype(device)).to(device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise Unavailable(f"the captioner {reference} cannot be loaded: {error}") from error
    return Blip(model, processor, answers)


def _dtype(device: str) -> Any:
    """Sixteen bits where the device multiplies matrices of them faster; most CPUs are slower with them."""
    import torch

    if device != "cpu":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
