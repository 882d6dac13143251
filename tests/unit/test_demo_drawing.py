"""The demo captioner's pictures: one right caption each, and the same pictures for the same seed."""

import numpy as np
import pytest

from inference.demo_captioner.drawing import draw
from inference.demo_captioner.palette import COLOURS, CSS
from inference.demo_captioner.pillow_set import one_shape, two_shapes
from inference.demo_captioner.scenes import SHAPES, SceneObject, caption, relation, sample_scenes, with_article

RED = SceneObject("red", "circle", (0.5, 0.2))
BLUE = SceneObject("blue", "square", (0.4, 0.8))


def test_caption_of_one_shape() -> None:
    assert caption([RED], "white") == "a red circle on a white background"


def test_article_before_a_vowel() -> None:
    assert caption([SceneObject("orange", "star", (0.5, 0.5))], "orange") == "an orange star on an orange background"
    assert with_article("light blue") == "a light blue"


def test_upper_shape_comes_first_in_either_order() -> None:
    expected = "a red circle above a blue square on a black background"
    assert caption([RED, BLUE], "black") == caption([BLUE, RED], "black") == expected


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((0.2, 0.5), (0.8, 0.6), "to the left of"),
        ((0.2, 0.2), (0.5, 0.8), "above"),
        ((0.2, 0.2), (0.8, 0.8), "above"),  # a tie counts as vertical
        ((0.2, 0.8), (0.8, 0.7), "to the left of"),
    ],
)
def test_larger_distance_decides(first: tuple[float, float], second: tuple[float, float], words: str) -> None:
    a, b = SceneObject("red", "circle", first), SceneObject("blue", "square", second)
    assert relation(a, b) == relation(b, a) == (a, words, b)


def test_mirrored_picture_swaps_left_and_right_but_not_above() -> None:
    left, right = SceneObject("red", "circle", (0.2, 0.5)), SceneObject("blue", "star", (0.8, 0.5))
    mirrored = [SceneObject(each.colour, each.shape, (1 - each.centre[0], each.centre[1])) for each in (left, right)]
    assert relation(*mirrored)[0].colour == "blue"
    upright = [SceneObject(each.colour, each.shape, (1 - each.centre[0], each.centre[1])) for each in (RED, BLUE)]
    assert relation(*upright)[0].colour == relation(RED, BLUE)[0].colour


def test_pictures_have_the_promised_shapes_and_types() -> None:
    pictures = draw(np.random.default_rng(0), 40, side=48, two=0.5)
    assert pictures.pixels.shape == (40, 48, 48, 3)
    assert pictures.pixels.dtype == np.uint8
    assert pictures.masks.shape == (40, 2, 48, 48)
    assert pictures.masks.min() == 0
    assert pictures.masks.max() == 1
    assert len(pictures.captions) == 40


def test_same_seed_draws_the_same_pictures() -> None:
    one, again, other = (draw(np.random.default_rng(seed), 30) for seed in (7, 7, 8))
    assert np.array_equal(one.pixels, again.pixels)
    assert one.captions == again.captions
    assert one.captions != other.captions


@pytest.mark.parametrize("two", [0.0, 0.5, 1.0])
def test_share_of_two_shapes(two: float) -> None:
    scenes = sample_scenes(np.random.default_rng(3), 600, two)
    assert len(scenes.count) == 600
    assert (scenes.count == 2).mean() == pytest.approx(two, abs=0.08)


def test_every_name_is_drawn_and_captioned() -> None:
    text = " ".join(draw(np.random.default_rng(5), 1500).captions)
    for word in (*COLOURS, *SHAPES, "above", "to the left of", "gradient"):
        assert word in text


def test_second_shape_is_absent_from_pictures_of_one() -> None:
    pictures = draw(np.random.default_rng(1), 60)
    single = pictures.scenes.count == 1
    assert pictures.masks[single, 1].max() == 0
    assert (pictures.masks[:, 0].max(axis=(1, 2)) > 0.9).all()


def test_shapes_of_a_pair_are_apart_and_clearly_related() -> None:
    scenes = sample_scenes(np.random.default_rng(2), 300, two=1.0)
    gaps = np.sort(np.abs(scenes.centre[:, 0] - scenes.centre[:, 1]), axis=1)
    assert (gaps[:, 1] > 1.2 * gaps[:, 0]).all()


def test_roles_and_relations_agree_with_the_captions() -> None:
    scenes = sample_scenes(np.random.default_rng(6), 200, two=0.7)
    words = ["background", "above", "to the left of"]
    for i, line in enumerate(scenes.captions()):
        assert words[scenes.relations()[i]] in line
        first = int(scenes.roles()[i, 0] in (2, 4))
        assert (scenes.roles()[i] == 0).all() == (scenes.count[i] == 1)
        assert line.startswith(with_article(f"{COLOURS[scenes.colour[i, first]]} {SHAPES[scenes.shape[i, first]]}"))


def test_a_plain_picture_has_the_colours_of_its_scene() -> None:
    pictures = draw(np.random.default_rng(4), 400, two=0.0)
    plain = np.flatnonzero(pictures.scenes.background == COLOURS.index("white"))
    corner = pictures.pixels[plain, 0, 0].astype(float).mean(axis=0)
    assert (corner > 235).all()


def test_css_values_are_hexadecimal() -> None:
    assert all(len(value) == 7 and int(value[1:], 16) >= 0 for value in CSS.values())


def test_second_hand_is_deterministic_too() -> None:
    for drawn in (one_shape, two_shapes):
        (picture, line), (again, same) = (drawn(np.random.default_rng(11)) for _ in range(2))
        assert picture.tobytes() == again.tobytes()
        assert line == same
