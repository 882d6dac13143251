"""Decodes pictures in child processes, each picture within limits of time and memory. Imports no Pillow by itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from inference.api import BadImage
from inference.processes.worker import Unusable
from inference.processes.worker_pool import Overrun, TieredPool

if TYPE_CHECKING:
    from PIL.Image import Image

QUICK_S, CPU_S = 0.5, 3.0
"""CPU seconds of one picture, before others and behind others. A photo of a phone takes less than the first."""
MEMORY_BYTES = 768 * 2**20
"""Address space for one picture: 40 megapixels with transparency, and a copy that is turned upright."""
_WORKERS = 2
_SIZE = struct.Struct(">II")


class PictureDecoder:
    """Decodes in child processes, each picture within limits of time and memory."""

    def __init__(self) -> None:
        self._pool = pool("inference.tasks.media.pictures:decoded")

    async def decode(self, data: bytes) -> Image:
        """The picture as `inference.tasks.media.pictures.decode` returns it, 8-bit RGB.

        Raises:
            BadImage: if it is no picture, damaged, or takes too much time or memory.
        """
        reply = await call(self._pool, data)
        from PIL import Image

        size = _SIZE.unpack_from(reply)
        return Image.frombytes("RGB", size, memoryview(reply)[_SIZE.size :])

    async def close(self) -> None:
        await self._pool.close()


def pool(target: str) -> TieredPool:
    """Processes with the limits of a picture that call `target`."""
    return TieredPool(target, workers=_WORKERS, quick_s=QUICK_S, cpu_s=CPU_S, memory_bytes=MEMORY_BYTES)


async def call(processes: TieredPool, data: bytes) -> bytes:
    """The reply of the pool's function. Raises BadImage."""
    try:
        return await processes.call(data)
    except Unusable as error:
        raise BadImage(str(error)) from error
    except Overrun as error:
        raise BadImage(_OVERRUN[error.why]) from error


_OVERRUN = {
    "time": "it takes too long to open",
    "memory": "it takes too much memory to open",
    "broken": "the file is damaged or incomplete",
    "closed": "it could not be opened any more",
}
