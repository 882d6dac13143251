"""The colour names of the demo captioner, and bulk sampling of RGB values that deserve each name.

The first hex value of a name is its CSS value. Values between two names (maroon, teal, amber) are left out on purpose:
a picture must have one right caption.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_HEX: dict[str, str] = {
    "red": "ff0000 d00000 dc143c e53935 ff3b30 e74c3c",
    "orange": "ffa500 ff8c00 ff7f00 f39c12 ff9800",
    "yellow": "ffff00 ffd700 ffeb3b f1c40f ffee33",
    "green": "008000 00ff00 228b22 32cd32 4caf50 2ecc71 006400 00b300",
    "cyan": "00ffff 00e5ff 00ced1 40e0d0 1de9e0",
    "blue": "0000ff 1e90ff 4169e1 0000cd 2196f3 000080 3498db",
    "purple": "800080 8a2be2 9932cc 9b59b6 6a0dad 4b0082",
    "magenta": "ff00ff f000f0",
    "pink": "ffc0cb ff69b4 ff1493 ffb6c1 ff8fab",
    "brown": "a52a2a 8b4513 a0522d 795548 6b3e1f",
    "black": "000000 111111 1a1a1a 0a0a14",
    "white": "ffffff f8f8f8 f5f5f5 fafafa",
    "grey": "808080 a9a9a9 696969 c0c0c0 d3d3d3",
    "light blue": "add8e6 87ceeb b0e0e6 87cefa bbdefb",
    "light green": "90ee90 98fb98 c1f0c1 a5e8a5",
    "light yellow": "ffffe0 fffacd ffffcc fff5b0",
}

COLOURS: tuple[str, ...] = tuple(_HEX)
CSS: dict[str, str] = {name: "#" + values.split()[0] for name, values in _HEX.items()}

_SHAPE_SHARE = {"light blue": 0.4, "light green": 0.4, "light yellow": 0.3}
_BACKGROUND_SHARE = {"white": 18, "black": 5, "grey": 5, "light blue": 2, "light yellow": 1.5, "light green": 1.5}
_JITTER = 10.0  # of 255 a channel; more would carry CSS brown (a52a2a) into red
_SIZE = max(len(values.split()) for values in _HEX.values())


def _rgb(value: str) -> list[int]:
    return list(bytes.fromhex(value))


def _anchors() -> NDArray[np.float32]:
    """All values as (colours, _SIZE, 3) float32; shorter lists repeat from their start."""
    lists = [values.split() for values in _HEX.values()]
    return np.array([[_rgb(each[i % len(each)]) for i in range(_SIZE)] for each in lists], dtype=np.float32)


def _shares(special: Mapping[str, float]) -> NDArray[np.float64]:
    weights = np.array([special.get(name, 1.0) for name in COLOURS])
    return np.asarray(weights / weights.sum(), dtype=np.float64)


_ANCHORS = _anchors()
_SHAPE_P = _shares(_SHAPE_SHARE)
_BACKGROUND_P = _shares(_BACKGROUND_SHARE)


def sample_names(rng: np.random.Generator, size: tuple[int, ...], background: bool = False) -> NDArray[np.int64]:
    """Indices into COLOURS, in the shares of shapes or of backgrounds."""
    return rng.choice(len(COLOURS), size=size, p=_BACKGROUND_P if background else _SHAPE_P)


def sample_rgb(rng: np.random.Generator, names: NDArray[np.int64]) -> NDArray[np.float32]:
    """One RGB value, 0 to 255, float32 of shape (*names.shape, 3), for each index into COLOURS.

    Thirty in a hundred are the CSS value itself, thirty another listed value, the rest a mixture of two with a jitter.
    """
    kind = rng.random(names.shape)
    first = np.where(kind < 0.3, 0, rng.integers(0, _SIZE, names.shape))
    second = rng.integers(0, _SIZE, names.shape)
    loose = (kind >= 0.6)[..., None]
    share = rng.random((*names.shape, 1), dtype=np.float32) * loose
    mixed = _ANCHORS[names, first] * (1 - share) + _ANCHORS[names, second] * share
    jitter = rng.uniform(-_JITTER, _JITTER, size=mixed.shape) * loose
    return np.asarray(np.clip(mixed + jitter, 0, 255), dtype=np.float32)
