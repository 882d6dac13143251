"""A second hand for evaluation: pictures as a person would draw them, with Pillow at their real sizes.

It shares names and the caption rule with the training pictures, but neither their outlines, their sizes nor their
colour values: pure CSS colours, polygons, and pictures of 200 to 640 pixels a side that the processor then resizes.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from inference.demo_captioner.palette import CSS
from inference.demo_captioner.scenes import SHAPES, SceneObject, caption

Points = list[tuple[float, float]]

FORMATS: tuple[tuple[int, int], ...] = (
    (256, 256),
    (300, 200),
    (200, 300),
    (400, 400),
    (512, 512),
    (640, 480),
    (480, 360),
)
INKS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
GROUNDS: tuple[str, ...] = ("white", "white", "white", "black", "grey", "light blue", "light yellow", "light green")
_ALIKE = (
    {"white", "light yellow"}, {"cyan", "light blue"}, {"cyan", "light green"}, {"white", "light blue"},
)  # fmt: skip
_OTHER_VALUES = {"green": "#00ff00", "grey": "#a0a0a0", "brown": "#8b4513", "pink": "#ff69b4"}
_DETAIL = 3  # times the picture's size; the reduction smooths the edges


def _ellipse() -> Points:
    return [(math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * math.pi, 90)]


def _square() -> Points:
    return [(-1, -1), (1, -1), (1, 1), (-1, 1)]


def _triangle() -> Points:
    return [(0, -1), (1, 1), (-1, 1)]


def _star() -> Points:
    radii = [1.0, 0.42] * 5
    return [(r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5)) for i, r in enumerate(radii)]


def _heart() -> Points:
    def point(t: float) -> tuple[float, float]:
        drop = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        return math.sin(t) ** 3, -drop / 16

    return [point(t) for t in np.linspace(0, 2 * math.pi, 120)]


_OUTLINES: dict[str, Callable[[], Points]] = {
    "circle": _ellipse, "square": _square, "triangle": _triangle, "star": _star, "heart": _heart,
}  # fmt: skip


def paint(
    things: list[SceneObject], radii: list[float], size: tuple[int, int], ground: str, inks: list[str] | None = None
) -> Image.Image:
    """An RGB picture of `size` pixels; a thing's centre is in fractions of it, its radius in pixels."""
    picture = Image.new("RGB", (size[0] * _DETAIL, size[1] * _DETAIL), CSS[ground])
    pen = ImageDraw.Draw(picture)
    for i, (thing, radius) in enumerate(zip(things, radii, strict=True)):
        x, y = thing.centre[0] * size[0], thing.centre[1] * size[1]
        points = [((x + u * radius) * _DETAIL, (y + v * radius) * _DETAIL) for u, v in _OUTLINES[thing.shape]()]
        pen.polygon(points, fill=inks[i] if inks else CSS[thing.colour])
    return picture.resize(size, Image.Resampling.BOX)


def one_shape(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A picture of one shape, 15 to 70 % of the shorter side, and its caption."""
    size, ground = _format(rng), str(rng.choice(GROUNDS))
    radius = rng.uniform(0.15, 0.7) * min(size) / 2
    thing = SceneObject(_ink(rng, ground), str(rng.choice(SHAPES)), _inside(rng, size, radius))
    picture = paint([thing], [radius], size, ground, [_value(rng, thing.colour)])
    return _as_file(rng, picture), caption([thing], ground)


def two_shapes(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A picture of two shapes, 20 to 45 % of the shorter side and well apart, and its caption."""
    while True:
        size, ground = _format(rng), str(rng.choice(GROUNDS))
        radii = [rng.uniform(0.2, 0.45) * min(size) / 2 for _ in range(2)]
        things = [SceneObject(_ink(rng, ground), str(rng.choice(SHAPES)), _inside(rng, size, r)) for r in radii]
        if _is_clear(things, radii, size):
            break
    picture = paint(things, radii, size, ground, [_value(rng, thing.colour) for thing in things])
    return _as_file(rng, picture), caption(things, ground)


def _format(rng: np.random.Generator) -> tuple[int, int]:
    return FORMATS[rng.integers(len(FORMATS))]


def _ink(rng: np.random.Generator, ground: str) -> str:
    return str(rng.choice([ink for ink in INKS if ink != ground and {ink, ground} not in _ALIKE]))


def _value(rng: np.random.Generator, ink: str) -> str:
    return _OTHER_VALUES.get(ink, CSS[ink]) if rng.random() < 0.5 else CSS[ink]


def _inside(rng: np.random.Generator, size: tuple[int, int], radius: float) -> tuple[float, float]:
    if rng.random() < 0.3:
        return 0.5, 0.5
    x, y = (float(rng.uniform(radius, side - radius)) / side for side in size)
    return x, y


def _is_clear(things: list[SceneObject], radii: list[float], size: tuple[int, int]) -> bool:
    """No overlap, and one axis of the picture, in fractions of its sides, with clearly the larger distance."""
    gaps = [abs(a - b) for a, b in zip(things[0].centre, things[1].centre, strict=True)]
    apart = any(gap * side > 1.1 * sum(radii) for gap, side in zip(gaps, size, strict=True))
    return apart and max(gaps) > 1.4 * min(gaps)


def _as_file(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """The picture as it comes back from a PNG or, every third time, from a JPEG."""
    if rng.random() < 2 / 3:
        return picture
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
