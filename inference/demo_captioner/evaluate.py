"""Measures the committed checkpoint on held-out pictures: `python -m inference.demo_captioner.evaluate`.

A caption counts only if it is right word by word.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from inference.demo_captioner import CHECKPOINT
from inference.demo_captioner.drawing import draw
from inference.demo_captioner.model import SIDE
from inference.demo_captioner.pillow_set import one_shape, two_shapes

HELD_OUT_SEED = 20_000
_BATCH = 128

Example = tuple[Image.Image, str]


class EvaluatedCaptioner:
    """A checkpoint as any caller would load it, in float32 on the CPU."""

    def __init__(self, folder: Path = CHECKPOINT) -> None:
        self.processor = BlipProcessor.from_pretrained(folder)
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)

    def captions(self, pictures: list[Image.Image], prompt: str | None = None) -> list[str]:
        """One caption a picture, greedily, behind the prompt if there is one."""
        text = None if prompt is None else [prompt] * len(pictures)
        inputs = self.processor(images=pictures, text=text, return_tensors="pt")
        ids = self.model.generate(**inputs, num_beams=1, do_sample=False, max_new_tokens=32)
        return [str(self.processor.tokenizer.decode(each, skip_special_tokens=True)) for each in ids]


def own_set(rng: np.random.Generator, n: int, two: bool) -> list[Example]:
    """n pictures of the training's own drawing."""
    pictures = draw(rng, n, SIDE, two=float(two))
    return [(Image.fromarray(pixels), line) for pixels, line in zip(pictures.pixels, pictures.captions, strict=True)]


def pillow_set(rng: np.random.Generator, n: int, two: bool) -> list[Example]:
    """n pictures of the second hand."""
    return [(two_shapes if two else one_shape)(rng) for _ in range(n)]


def wrong(
    captioner: EvaluatedCaptioner, examples: list[Example], prompt: str | None = None
) -> Iterator[tuple[Example, str]]:
    """The examples whose caption is not exactly right, each with what the model said."""
    before = "" if prompt is None else f"{prompt} "
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        said = captioner.captions([picture for picture, _ in batch], prompt)
        yield from ((each, line) for each, line in zip(batch, said, strict=True) if line != before + each[1])


def main() -> None:
    """Prints one line for each set; with --show, some of the mistakes too."""
    parser = argparse.ArgumentParser(description="Exact captions on held-out pictures.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--n", type=int, default=1000, help="pictures in each set")
    parser.add_argument("--show", type=int, default=0, help="mistakes to print for each set")
    options = parser.parse_args()
    captioner = EvaluatedCaptioner(options.checkpoint)
    print(f"exact captions of {options.n} pictures each, seed {options.seed}")
    for name, drawn in (("own drawing", own_set), ("Pillow", pillow_set)):
        for two in (False, True):
            examples = drawn(np.random.default_rng(options.seed), options.n, two)
            for prompt in (None, "a picture of"):
                missed = list(wrong(captioner, examples, prompt))
                label = f"{name:12}{'two shapes' if two else 'one shape':12}{prompt or '(no prompt)':14}"
                print(f"{label}{1 - len(missed) / len(examples):7.1%}", flush=True)
                for (_, expected), said in missed[: options.show] if prompt is None else []:
                    print(f"    {expected}\n      -> {said}")


if __name__ == "__main__":
    main()
