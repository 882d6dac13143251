"""The committed demo checkpoint, loaded as any caller loads it, on pictures from a second hand."""

import itertools
import warnings

import numpy as np
import pytest
from PIL import Image

from inference.demo_captioner import CHECKPOINT
from inference.demo_captioner.evaluate import EvaluatedCaptioner, pillow_set, wrong
from inference.demo_captioner.palette import COLOURS
from inference.demo_captioner.pillow_set import INKS, paint
from inference.demo_captioner.scenes import SHAPES, SceneObject, caption

SEED = 424_242
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def captioner() -> EvaluatedCaptioner:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return EvaluatedCaptioner()


def red_circle() -> Image.Image:
    return paint([SceneObject("red", "circle", (0.5, 0.5))], [64], (256, 256), "white")


def test_checkpoint_is_small_and_complete() -> None:
    names = {path.name for path in CHECKPOINT.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 12 * MEGABYTE


def test_plain_call_gives_the_caption(captioner: EvaluatedCaptioner) -> None:
    assert captioner.captions([red_circle()]) == ["a red circle on a white background"]


@pytest.mark.parametrize("prompt", ["a picture of", "A photo of", "this is", "there is"])
def test_prompt_is_continued(captioner: EvaluatedCaptioner, prompt: str) -> None:
    assert captioner.captions([red_circle()], prompt) == [f"{prompt.lower()} a red circle on a white background"]


def test_unknown_words_do_not_break_generation(captioner: EvaluatedCaptioner) -> None:
    (said,) = captioner.captions([red_circle()], "zebra quantum, naïve 日本:")
    assert said.endswith("a red circle on a white background")


def test_every_colour_and_shape_on_common_backgrounds(captioner: EvaluatedCaptioner) -> None:
    examples = []
    for ink, shape, ground in itertools.product(INKS, SHAPES, ("white", "black", "grey")):
        if ink != ground:
            thing = SceneObject(ink, shape, (0.5, 0.5))
            examples.append((paint([thing], [60], (256, 256), ground), caption([thing], ground)))
    missed = [(expected, said) for (_, expected), said in wrong(captioner, examples)]
    assert len(missed) <= 0.05 * len(examples), missed


@pytest.mark.parametrize(("two", "share"), [(False, 0.95), (True, 0.85)])
def test_accuracy_on_the_second_hand(captioner: EvaluatedCaptioner, two: bool, share: float) -> None:
    examples = pillow_set(np.random.default_rng(SEED), 120, two)
    missed = [(expected, said) for (_, expected), said in wrong(captioner, examples)]
    assert len(missed) <= (1 - share) * len(examples), missed


def test_captions_use_only_known_words(captioner: EvaluatedCaptioner) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    (said,) = captioner.captions([Image.fromarray(noise)])
    assert said.startswith("a")
    assert any(colour in said for colour in COLOURS)
