"""Draws labelled pictures in bulk: every shape is a signed distance over the whole batch, with smooth edges.

Pure: all chance comes from the caller's numpy Generator, and the same generator gives the same pictures.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.demo_captioner.scenes import SHAPES, Scenes, extent, sample_scenes

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pictures:
    """n drawn pictures with their captions."""

    pixels: NDArray[np.uint8]  # (n, side, side, 3) RGB
    captions: list[str]
    masks: Floats  # (n, 2, side, side) how much of each pixel the first and the second shape cover, 0 to 1
    scenes: Scenes


def draw(rng: np.random.Generator, n: int, side: int = 64, two: float = 0.5) -> Pictures:
    """n pictures of side x side pixels, a share `two` of them with two shapes."""
    scenes = sample_scenes(rng, n, two)
    canvas = _background(rng, scenes, side)
    soft = rng.uniform(0.7, 1.6, n).astype(np.float32)[:, None, None]
    masks = np.zeros((n, 2, side, side), dtype=np.float32)
    for slot in (0, 1):
        present = np.flatnonzero(scenes.count > slot)
        distance = _distances(rng, scenes.take(present), slot, side)
        inside = np.clip(0.5 - distance / soft[present], 0, 1)
        canvas[present] = _painted(rng, canvas[present], inside, distance, scenes.rgb[present, slot])
        masks[present, slot] = inside
    return Pictures(_degraded(rng, canvas), scenes.captions(), masks, scenes)


def _painted(rng: np.random.Generator, canvas: Floats, inside: Floats, distance: Floats, rgb: Floats) -> Floats:
    """The canvas (m, side, side, 3) with a filled shape on it, one in ten with a dark or white outline."""
    outlined = np.flatnonzero(rng.random(len(canvas)) < 0.1)
    ink = np.where(rng.random((len(outlined), 1, 1, 1)) < 0.8, 10.0, 245.0).astype(np.float32)
    rim = np.clip(1.5 - distance[outlined], 0, 1)[..., None]
    canvas[outlined] += rim * (ink - canvas[outlined])
    return np.asarray(canvas + inside[..., None] * (rgb[:, None, None] - canvas), dtype=np.float32)


def _background(rng: np.random.Generator, scenes: Scenes, side: int) -> Floats:
    """(n, side, side, 3): a linear run from one end colour to the other, in a random direction."""
    n = len(scenes.count)
    x, y = _grid(side)
    angle = np.where(rng.random(n) < 0.7, rng.integers(0, 4, n) * np.pi / 2, rng.uniform(0, 2 * np.pi, n))
    across, down = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    along = np.clip(0.5 + (x - 0.5) * across + (y - 0.5) * down, 0, 1)[..., None]
    start, end = scenes.ends[:, 0, None, None], scenes.ends[:, 1, None, None]
    return np.asarray(start + along * (end - start), dtype=np.float32)


def _grid(side: int) -> tuple[Floats, Floats]:
    """x (1, 1, side) and y (1, side, 1) of the pixels' centres, as fractions."""
    line: Floats = ((np.arange(side) + 0.5) / side).astype(np.float32)
    return line.reshape(1, 1, side), line.reshape(1, side, 1)


def _distances(rng: np.random.Generator, scenes: Scenes, slot: int, side: int) -> Floats:
    """Signed distance in pixels, (m, side, side), of every pixel from the shape's edge; negative inside."""
    u, v = _shape_frame(rng, scenes, slot, side)
    result = np.empty(u.shape, dtype=np.float32)
    for kind, distance in enumerate(_DISTANCES):
        chosen = np.flatnonzero(scenes.shape[:, slot] == kind)
        if len(chosen):
            result[chosen] = distance(rng, u[chosen], v[chosen])
    result *= scenes.size[:, slot, None, None] * np.float32(side / 2)
    return result


def _shape_frame(rng: np.random.Generator, scenes: Scenes, slot: int, side: int) -> tuple[Floats, Floats]:
    """Pixel coordinates (m, side, side) in the frame where the shape fills -1 to 1, v downwards."""
    m = len(scenes.count)
    x, y = _grid(side)
    width, height = np.moveaxis(extent(scenes.size, scenes.aspect)[:, slot, :, None, None], 1, 0)
    p = (x - scenes.centre[:, slot, 0, None, None]) / (width / 2)
    q = (y - scenes.centre[:, slot, 1, None, None]) / (height / 2)
    turn = np.where(rng.random(m) < 0.5, 0.0, rng.normal(0, 0.15, m)).astype(np.float32)
    stretch = np.where(rng.random(m) < 0.5, 0.0, rng.uniform(-0.2, 0.2, m)).astype(np.float32)
    cos, sin, wide = (f(a)[:, None, None] for f, a in ((np.cos, turn), (np.sin, turn), (np.exp, stretch)))
    # Only one of the two axes shrinks, so that a stretched shape still fits its extent.
    return (p * cos + q * sin) * np.maximum(wide, 1), (q * cos - p * sin) / np.minimum(wide, 1)


def _circle(_: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return np.hypot(u, v) - 1


def _square(_: np.random.Generator, u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - 1


def _triangle(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Mostly upright; a quarter points elsewhere. The apex wanders as far as a right angle."""
    m = len(u)
    quarter = np.where(rng.random(m) < 0.75, 0, rng.integers(1, 4, m))[:, None, None]
    u, v = np.choose(quarter, [u, v, -u, -v]), np.choose(quarter, [v, -u, -v, u])
    apex = np.where(rng.random(m) < 0.7, 0.0, rng.uniform(-1, 1, m)).astype(np.float32)[:, None, None]
    left, right = (
        ((-2 * u - (1 + apex) * v + apex - 1) / np.hypot(2, 1 + apex)),
        ((2 * u - (1 - apex) * v - apex - 1) / np.hypot(2, 1 - apex)),
    )
    return np.maximum(np.maximum(left, right), v - 1)


def _star(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Five points, one of them upwards; a tenth of the circle is folded over all ten."""
    inner = rng.uniform(0.36, 0.55, (len(u), 1, 1)).astype(np.float32)
    sector = np.float32(np.pi / 5)
    angle = np.abs(np.mod(np.arctan2(u, -v) + sector, 2 * sector) - sector)
    radius = np.hypot(u, v)
    normal_x, normal_y = inner * np.sin(sector), 1 - inner * np.cos(sector)
    along = normal_x * (radius * np.cos(angle) - 1) + normal_y * radius * np.sin(angle)
    return np.asarray(along / np.hypot(normal_x, normal_y), dtype=np.float32)


def _heart(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """A square on its corner with a half circle on both upper sides, its tip more or less drawn out."""
    half = np.float32(0.828)  # half of the square's diagonal, so that the circles reach from -1 to 1
    u, v = np.abs(u), v - 0.085
    v = np.where(v > 0, v * rng.uniform(0.8, 1.05, (len(u), 1, 1)).astype(np.float32), v)
    lobe = np.hypot(u - half / 2, v + half / 2) - half * np.float32(np.sqrt(0.5))
    diamond = (u + np.abs(v) - half) * np.float32(np.sqrt(0.5))
    return np.asarray(np.minimum(lobe, diamond))


_DISTANCES = (_circle, _square, _triangle, _star, _heart)
if len(_DISTANCES) != len(SHAPES):
    raise ValueError("every shape of a scene needs its distance function")


def _degraded(rng: np.random.Generator, canvas: Floats) -> NDArray[np.uint8]:
    """Bytes of the canvas; some blurred, some noisy, some through JPEG, and half of them clean."""
    n = len(canvas)
    blurred = np.flatnonzero(rng.random(n) < 0.15)
    canvas[blurred] = _blurred(canvas[blurred])
    noisy = np.flatnonzero(rng.random(n) < 0.25)
    sigma = rng.uniform(1, 10, (len(noisy), 1, 1, 1)).astype(np.float32)
    canvas[noisy] += sigma * rng.standard_normal(canvas[noisy].shape, dtype=np.float32)
    pixels = np.asarray(np.clip(canvas + 0.5, 0, 255), dtype=np.uint8)
    for i in np.flatnonzero(rng.random(n) < 0.12):
        pixels[i] = _through_jpeg(pixels[i], quality=int(rng.integers(60, 96)))
    return pixels


def _blurred(canvas: Floats) -> Floats:
    """A three-pixel binomial blur along both axes."""
    for axis in (1, 2):
        pad = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        wide = np.pad(canvas, pad, mode="edge")
        size = canvas.shape[axis]
        before, middle, after = (wide.take(np.arange(k, k + size), axis=axis) for k in range(3))
        canvas = np.asarray((before + 2 * middle + after) / 4, dtype=np.float32)
    return canvas


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
