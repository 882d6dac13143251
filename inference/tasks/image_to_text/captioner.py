"""The captioner: has pictures decoded in processes, batches them, and remembers what it has seen.

torch is imported with the first picture, or by `preload`. It works in threads of its own, on its own device if it is
given one, so that a caption never waits for a long answer nor the other way round.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.api import InferenceError, OutOfMemory, Unavailable
from inference.engines.cache_salt import cache_salt
from inference.failures.error_classes import is_out_of_memory
from inference.queueing.adaptive_limit import AdaptiveLimit
from inference.tasks.media.picture_decoder import PictureDecoder
from inference.tasks.micro_batcher import MicroBatcher

if TYPE_CHECKING:
    from PIL.Image import Image

    from inference.tasks.image_to_text.blip import Blip

log = logging.getLogger(__name__)

_BATCH = 16
_WINDOW_S = 0.005
_THREADS = 2
_REMEMBERED = 1024
_REMEMBERED_S = 900.0


class BlipCaptioner:
    """A BLIP checkpoint by folder or hub id.

    Args:
        device: "auto" is a GPU where there is one.
        batch: how many pictures are looked at together.
    """

    def __init__(
        self, reference: str, *, name: str | None = None, demo: bool = False, device: str = "auto", batch: int = _BATCH
    ) -> None:
        self._reference = reference
        self._name = name or Path(reference).name
        self._demo = demo
        self._device = device
        self._slots = batch
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="captioner")
        self._decoder = PictureDecoder()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="picture")
        self._limit = AdaptiveLimit(batch)
        self._batches: MicroBatcher[tuple[Any, str], str] = MicroBatcher(
            self._describe, self._worker, size=batch, window_s=_WINDOW_S
        )
        self._loading = threading.Lock()
        self._loaded: Blip | None = None
        self._loads = self._closed = False
        self._seen: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """Until when, and the caption; oldest first. By owner and digest: no words and no pictures are kept."""
        self._forgotten = 0
        """How often all were dropped: what was asked for before that is not remembered."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def demo(self) -> bool:
        return self._demo

    @property
    def answers(self) -> bool:
        """As its name tells, until it is loaded."""
        return self._loaded.answers if self._loaded is not None else "vqa" in self._name.casefold()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def loads(self) -> bool:
        """Whether the checkpoint is being loaded: ten seconds and more, where torch is not imported yet."""
        return self._loads

    async def preload(self) -> None:
        """Loads the checkpoint now. Raises Unavailable."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._load)

    async def caption(self, image: bytes, prompt: str, owner: str) -> str:
        """Describe a picture. What was described before is remembered, for its owner alone.

        Raises:
            BadImage, OutOfMemory, Unavailable.
        """
        prompt = prompt.encode("utf-8", "replace").decode()  # no tokenizer reads a lone surrogate
        loop, forgotten = asyncio.get_running_loop(), self._forgotten
        try:
            key = await loop.run_in_executor(self._threads, _key, image, prompt, owner)
            if (known := self._seen.get(key)) is not None and known[0] > time.monotonic():
                return known[1]
            picture = await self._decoder.decode(image)  # before a model is loaded for what is no picture
            pixels = await loop.run_in_executor(self._threads, self._pixels, picture)
            text = await self._batches.put((pixels, prompt))
        except InferenceError:
            raise
        except Exception as error:  # of a library
            if not self._closed:
                log.exception("the captioner failed")
            raise Unavailable(f"the captioner failed: {error!r}") from error
        if forgotten == self._forgotten:
            self._remember(key, text)
        return text

    def forget(self) -> None:
        self._seen.clear()
        self._forgotten += 1

    async def close(self) -> None:
        self._closed = True
        await self._decoder.close()
        # Nothing interrupts a checkpoint that is being read, and nothing is lost with it.
        wait = not self._loads
        for threads in (self._threads, self._worker):
            await asyncio.to_thread(threads.shutdown, wait=wait, cancel_futures=True)

    def _remember(self, key: bytes, text: str) -> None:
        now = time.monotonic()
        self._seen.pop(key, None)
        self._seen[key] = now + _REMEMBERED_S, text
        while len(self._seen) > _REMEMBERED or next(iter(self._seen.values()))[0] <= now:
            self._seen.popitem(last=False)

    def _pixels(self, picture: Image) -> Any:
        return self._load().pixels(picture)

    def _describe(self, items: Sequence[tuple[Any, str]]) -> Sequence[str | Exception]:
        pixels, prompts = zip(*items, strict=True)
        blip = self._load()
        try:
            described = blip.describe(pixels, prompts)
            self._limit.good()
            self._batches.size = self._limit.value
            return described
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(items) == 1:
                self._limit.restore()
                return [OutOfMemory(f"one picture is too much: {error}")]
        half = max(1, len(items) // 2)
        self._limit.shrink(len(items), to=half)
        self._batches.size = self._limit.value
        log.warning("%d pictures at once are too many for the memory: for a while at most %d", len(items), half)
        return [*self._describe(items[:half]), *self._describe(items[half:])]

    def _load(self) -> Blip:
        """The checkpoint. One that could not be loaded is tried again with the next picture. Raises Unavailable."""
        with self._loading:
            if self._closed:
                raise Unavailable("the captioner is closed")
            if self._loaded is None:
                self._loads = True
                try:
                    from inference.tasks.image_to_text.blip import load

                    log.info("loading the captioner %s", self._name)
                    self._loaded = load(self._reference, self._device)
                    log.info("captioner %s is loaded", self._name)
                except Unavailable:
                    raise
                except Exception as error:  # of a library
                    log.exception("the captioner %s cannot be loaded", self._name)
                    raise Unavailable(f"the captioner {self._name} cannot be loaded: {error!r}") from error
                finally:
                    self._loads = False
            return self._loaded


def _key(image: bytes, prompt: str, owner: str) -> bytes:
    # Of all owners together, the time of an answer would tell that somebody else has sent this picture.
    return sha256(cache_salt(owner) + sha256(image).digest() + prompt.encode("utf-8", "surrogatepass")).digest()
