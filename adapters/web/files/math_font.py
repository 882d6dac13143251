"""The font that the page draws formulas with: STIX Two Math without the thousands of signs that no formula here has.

It has OpenType's table for mathematics, without which a browser lets no bracket grow and leaves out signs of roots. The
whole font has 1.5 MB, more than a first load may have.
"""

from __future__ import annotations

import asyncio
import io
import logging
from importlib.util import find_spec
from pathlib import Path

from inference.processes.worker import Unusable
from inference.processes.worker_pool import Overrun, WorkerPool

_log = logging.getLogger(__name__)

NAME = "math.woff"
_CPU_S, _WALL_S, _MEMORY_BYTES = 20.0, 60.0, 512 * 2**20
_BLOCKS = (
    (0x20, 0x100), (0x131, 0x132), (0x237, 0x238), (0x2C6, 0x2DE), (0x300, 0x339), (0x370, 0x3F7), (0x2010, 0x209F),
    (0x20D0, 0x20F1), (0x2100, 0x2150), (0x2190, 0x2400), (0x25A0, 0x2600), (0x27C0, 0x2800), (0x2900, 0x2B00),
    (0x1D400, 0x1D5A0), (0x1D6A4, 0x1D7E2),
)  # fmt: skip
"""Letters, Greek, marks above letters, arrows, operators, and alphabets of mathematics but for sans and typewriter."""


class MathFont:
    """Makes the font when somebody first looks at a formula, in a process of its own: it takes about a second."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._font: bytes | None = None

    async def read(self) -> bytes:
        """The font as WOFF; empty where it could not be made, so that the system's fonts are taken."""
        async with self._lock:
            if self._font is None:
                self._font = await _made()
            return self._font


async def _made() -> bytes:
    package = find_spec("ziamath")
    if package is None or package.origin is None:
        return b""
    pool = WorkerPool("adapters.web.files.math_font:reduced", cpu_s=_CPU_S, wall_s=_WALL_S, memory_bytes=_MEMORY_BYTES)
    try:
        return await pool.call(str(Path(package.origin).parent / "fonts/STIXTwoMath-Regular.ttf").encode())
    except (Overrun, Unusable) as error:
        _log.warning("formulas are drawn with the system's fonts: %s", error)
        return b""
    finally:
        await pool.close()


def reduced(path: bytes) -> bytes:
    """The font of that file with the signs of `_BLOCKS` and their larger forms. For the worker process."""
    from fontTools import subset

    options = subset.Options(
        flavor="woff", hinting=False, layout_features=["ssty"], drop_tables=["DSIG", "FFTM"], name_IDs=[0, 1, 2, 13, 14]
    )
    font = subset.load_font(path.decode(), options, lazy=True)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[code for first, end in _BLOCKS for code in range(first, end)])
    subsetter.subset(font)
    made = io.BytesIO()
    subset.save_font(font, made, options)
    return made.getvalue()
