"""What the training pictures show and the one right caption of each: pure sampling, without a pixel.

Coordinates are fractions of the picture's width and height, from its left upper corner, because that is all that a
captioner sees: its processor makes every picture square.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.demo_captioner.palette import COLOURS, sample_names, sample_rgb

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "heart")
GRADIENT = "gradient"

_CONTRAST = 70.0  # smallest Euclidean RGB distance between a shape and what it stands on
_STRONG_GRADIENT = 120.0  # smallest RGB distance of the ends of a gradient that the caption names
_CLEAR = 1.25  # the larger distance of two centres over the smaller; closer to 1, the relation is a matter of taste


class SceneObject(NamedTuple):
    """One shape of a caption: its colour, its shape and its centre (x, y)."""

    colour: str
    shape: str
    centre: tuple[float, float]


@dataclass(frozen=True)
class Scenes:
    """n pictures of up to two shapes; where `count` is 1, the second shape's values mean nothing."""

    count: NDArray[np.int64]  # (n,) 1 or 2
    shape: NDArray[np.int64]  # (n, 2) index into SHAPES
    colour: NDArray[np.int64]  # (n, 2) index into COLOURS
    rgb: NDArray[np.float32]  # (n, 2, 3) 0 to 255
    centre: NDArray[np.float32]  # (n, 2, 2) x and y
    size: NDArray[np.float32]  # (n, 2) side of the shape, as a fraction of the root of the picture's area
    aspect: NDArray[np.float32]  # (n,) width over height before the processor made the picture square
    background: NDArray[np.int64]  # (n,) index into COLOURS, or len(COLOURS) for a gradient
    ends: NDArray[np.float32]  # (n, 2, 3) RGB at the two ends of the background; equal for a plain one

    def take(self, keep: NDArray[np.intp]) -> "Scenes":
        """The scenes at these indices."""
        return Scenes(**{name: values[keep] for name, values in vars(self).items()})

    def captions(self) -> list[str]:
        """The caption of every scene."""
        return [caption(self._things(i), background_name(int(self.background[i]))) for i in range(len(self.count))]

    def relations(self) -> NDArray[np.int64]:
        """(n,) 0 for one shape, 1 for above, 2 for to the left of: `relation` in bulk."""
        dx, dy = np.moveaxis(np.abs(self.centre[:, 1] - self.centre[:, 0]), 1, 0)
        return np.where(self.count == 1, 0, np.where(dy >= dx, 1, 2))

    def roles(self) -> NDArray[np.int64]:
        """(n, 2) what each shape is to the other: 0 alone, 1 upper, 2 lower, 3 left, 4 right."""
        kind = self.relations()
        way = self.centre[:, 1] - self.centre[:, 0]
        swapped = np.where(kind == 1, way[:, 1] < 0, (kind == 2) & (way[:, 0] < 0))
        roles = np.where(swapped[:, None], [[2, 1]], [[1, 2]]) + 2 * (kind == 2)[:, None]
        return np.where((kind == 0)[:, None], 0, roles)

    def _things(self, i: int) -> list[SceneObject]:
        return [
            SceneObject(
                COLOURS[self.colour[i, j]], SHAPES[self.shape[i, j]], (self.centre[i, j, 0], self.centre[i, j, 1])
            )
            for j in range(self.count[i])
        ]


def background_name(index: int) -> str:
    """The word for a background: a colour, or gradient."""
    return COLOURS[index] if index < len(COLOURS) else GRADIENT


def with_article(words: str) -> str:
    """The words behind their indefinite article: a red, an orange."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def relation(first: SceneObject, second: SceneObject) -> tuple[SceneObject, str, SceneObject]:
    """The two things in the order of the caption, and the words between them.

    The axis of the larger distance decides; the upper or the left one comes first. A tie counts as vertical. Equal
    pictures therefore have equal captions, in whatever order their shapes were drawn.
    """
    dx, dy = (b - a for a, b in zip(first.centre, second.centre, strict=True))
    vertical = abs(dy) >= abs(dx)
    if (dy if vertical else dx) < 0:
        first, second = second, first
    return first, "above" if vertical else "to the left of", second


def caption(things: list[SceneObject], background: str) -> str:
    """The caption of one or two things on a background, in lower case."""
    where = f"on {with_article(background)} background"
    if len(things) == 1:
        return f"{_phrase(things[0])} {where}"
    first, words, second = relation(*things)
    return f"{_phrase(first)} {words} {_phrase(second)} {where}"


def _phrase(thing: SceneObject) -> str:
    return with_article(f"{thing.colour} {thing.shape}")


def sample_scenes(rng: np.random.Generator, n: int, two: float) -> Scenes:
    """n scenes, each with the chance `two` of two shapes; one without a single right caption is drawn again."""
    pairs = int(rng.binomial(n, two))
    parts = [*_accepted(rng, n - pairs, 1), *_accepted(rng, pairs, 2)]
    return _joined(parts).take(rng.permutation(n))


def _accepted(rng: np.random.Generator, n: int, count: int) -> Iterator[Scenes]:
    """Scenes of `count` shapes until there are n."""
    while n > 0:
        scenes = _propose(rng, 2 * n + 4, count)
        keep = np.flatnonzero(_is_clear(scenes))[:n]
        n -= len(keep)
        yield scenes.take(keep)


def _joined(parts: list[Scenes]) -> Scenes:
    return Scenes(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _propose(rng: np.random.Generator, n: int, count: int) -> Scenes:
    aspect = np.where(rng.random(n) < 0.35, 1.0, np.exp(rng.uniform(-0.65, 0.65, n))).astype(np.float32)
    size = _sizes(rng, count, aspect)
    colour = sample_names(rng, (n, 2))
    background, ends = _backgrounds(rng, n)
    return Scenes(
        count=np.full(n, count),
        shape=rng.integers(0, len(SHAPES), (n, 2)),
        colour=colour,
        rgb=sample_rgb(rng, colour),
        centre=_centres(rng, size, aspect),
        size=size,
        aspect=aspect,
        background=background,
        ends=ends,
    )


def extent(size: NDArray[np.float32], aspect: NDArray[np.float32]) -> NDArray[np.float32]:
    """Width and height, (n, 2, 2) float32 fractions of the picture's, of shapes that are `size` (n, 2) large."""
    root = np.sqrt(aspect)[:, None]
    return np.stack([size / root, size * root], axis=-1)


def _sizes(rng: np.random.Generator, count: int, aspect: NDArray[np.float32]) -> NDArray[np.float32]:
    n = len(aspect)
    # Small shapes are the hard ones, so that the logarithm is even and not the size.
    smallest, largest = (0.14, 0.85) if count == 1 else (0.17, 0.5)
    size = np.exp(rng.uniform(np.log(smallest), np.log(largest), (n, 2)))
    size[:, 1] = np.where(rng.random(n) < 0.4, size[:, 0], size[:, 1])
    root = np.sqrt(aspect)[:, None]
    return np.minimum(size, 0.95 * np.minimum(root, 1 / root)).astype(np.float32)


def _centres(rng: np.random.Generator, size: NDArray[np.float32], aspect: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centres that keep the shapes inside; often in the middle of an axis, as people draw."""
    reach = np.maximum(0.5 - extent(size, aspect) / 2, 0)
    offset = rng.uniform(-1, 1, reach.shape).astype(np.float32) * reach
    middle = rng.random((len(size), 1, 2)) < 0.25  # both shapes of a picture on the same line
    return np.where(middle, 0.5, 0.5 + offset).astype(np.float32)


def _backgrounds(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Names (n,) and end colours (n, 2, 3): plain, lightly shaded, or a gradient of two colours."""
    names = np.stack([sample_names(rng, (n,), background=True), sample_names(rng, (n,))], axis=1)
    ends = sample_rgb(rng, names)
    kind = rng.random(n)
    plain, shaded = kind < 0.85, (kind >= 0.75) & (kind < 0.85)
    shade = rng.uniform(-8, 8, (n, 3)).astype(np.float32) * shaded[:, None]
    ends[:, 1] = np.where(plain[:, None], np.clip(ends[:, 0] + shade, 0, 255), ends[:, 1])
    return np.where(plain, names[:, 0], len(COLOURS)), ends


def _is_clear(scenes: Scenes) -> NDArray[np.bool_]:
    """Which scenes (n,) have one right caption: shapes that stand out, apart, and in a clear relation."""
    contrast = _distance(scenes.rgb[:, :, None], scenes.ends[:, None])  # (n, 2 shapes, 2 ends)
    stands_out = contrast.min(axis=2) >= _CONTRAST
    apart, plain_relation = _pair_is_clear(scenes)
    span = _distance(scenes.ends[:, 0], scenes.ends[:, 1])
    fair_background = (scenes.background < len(COLOURS)) | (span >= _STRONG_GRADIENT)
    pair = stands_out[:, 1] & apart & plain_relation
    return np.asarray(stands_out[:, 0] & fair_background & ((scenes.count == 1) | pair))


def _pair_is_clear(scenes: Scenes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    gap = np.abs(scenes.centre[:, 1] - scenes.centre[:, 0])
    apart = (gap >= 1.03 * extent(scenes.size, scenes.aspect).mean(axis=1)).any(axis=1)
    return apart, gap.max(axis=1) >= _CLEAR * gap.min(axis=1)


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.square(a - b).sum(axis=-1)))
