"""Has thumbnails made in child processes, each within limits of time and memory."""

from __future__ import annotations

import logging

from inference.api import BadImage
from inference.tasks.media.picture_decoder import call, pool

_log = logging.getLogger(__name__)

MEDIA_TYPE = "image/webp"


class Thumbnails:
    """Makes thumbnails; the processes are started with the first one."""

    def __init__(self) -> None:
        self._pool = pool("adapters.web.files.thumbnails:thumbnail")

    async def make(self, data: bytes) -> bytes | None:
        """The thumbnail (`adapters.web.files.thumbnails`); None for no usable picture, or one that takes too much."""
        try:
            return await call(self._pool, data)
        except BadImage as error:
            _log.info("no thumbnail: %s", error.why)
            return None

    async def close(self) -> None:
        await self._pool.close()
