"""The engine's face. Everything that needs torch is imported in a thread when the engine starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from inference.api import ChatRequest, Message, ModelInfo, TooLong, Unavailable
from inference.engines.lengths import count_within, may_be_far_too_long
from inference.engines.port import Closed, Opened, Output, Piece, Progress, RequestRejected, answer_one_token
from inference.engines.stop_strings import StopStrings
from inference.engines.transformers.detokenizer import Detokenizer
from inference.engines.transformers.options import TransformersOptions
from inference.engines.transformers.prompts import TokenizedPrompt
from inference.processes.gc_freeze import frozen_allocations

if TYPE_CHECKING:
    from inference.checkpoints.location import Say
    from inference.engines.transformers.loading import Loaded

log = logging.getLogger(__name__)
T = TypeVar("T")


class TransformersEngine:
    """One model by hub id or folder, decoding up to `slots` requests in a batch."""

    def __init__(self, reference: str, options: TransformersOptions | None = None) -> None:
        self._reference = reference
        self._options = options or TransformersOptions()
        self._info = ModelInfo(name=_name(reference), context_tokens=self._options.context_tokens)
        self._loaded: Loaded | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._numbers = count()
        self._progress = ""
        self._share: float | None = None

    @property
    def progress(self) -> str:
        """What the start is busy with, downloads in gigabytes."""
        return self._progress

    @property
    def share(self) -> float | None:
        """Of a download; how much of the weights is read, nobody tells."""
        return self._share

    @property
    def lost(self) -> bool:
        return False

    @property
    def is_being_replaced(self) -> bool:
        return False

    @property
    def steps(self) -> int:
        return self._loaded.batch.steps if self._loaded is not None else 0

    async def check(self) -> None:
        await answer_one_token(self)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def slots(self) -> int:
        return self._options.slots

    @property
    def running(self) -> int:
        """How many requests the batch itself holds; one that was closed is gone after the step that it was in."""
        return self._loaded.batch.running if self._loaded is not None else 0

    async def start(self) -> None:
        # One thread, because a tokenizer must not be used in two at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        loading = self._thread.submit(_load, self._reference, self._options, self._say)
        try:
            self._loaded = await asyncio.wrap_future(loading)
        except asyncio.CancelledError:
            # A batch that nobody stops keeps its process alive for ever.
            loading.add_done_callback(_close)
            raise
        self._info = ModelInfo(
            name=self._info.name,
            context_tokens=self._loaded.context_tokens,
            holds_prefix=True,
            reasoning=self._loaded.prompts.reasoning,
            reference=self._loaded.reference,
            revision=self._loaded.revision,
        )

    async def close(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await asyncio.to_thread(loaded.close)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        loaded = self._running()
        limit = self._info.context_tokens
        if may_be_far_too_long(request.messages, limit) and (
            (tokens := await self.count_tokens(request.messages)) >= limit
        ):
            raise TooLong(limit, tokens)
        prompt = await self._in_thread(loaded.prompts.encode, request.messages, request.prefix)
        room = limit - len(prompt.ids)
        if room < 1:
            raise TooLong(limit, len(prompt.ids))
        format = loaded.prompts.format
        yield Opened(len(prompt.ids), thinking=prompt.thinking, format=format, orphans=format is not None)
        most = min(request.sampling.max_new_tokens, room)
        async with aclosing(self._answer(loaded, request, prompt, most)) as outputs:
            async for output in outputs:
                yield output

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await count_within(messages, self._info.context_tokens, self._count)

    async def _count(self, messages: Sequence[Message]) -> int:
        return len((await self._in_thread(self._running().prompts.encode, messages, "")).ids)

    async def _answer(
        self, loaded: Loaded, request: ChatRequest, prompt: TokenizedPrompt, most: int
    ) -> AsyncGenerator[Output, None]:
        name = f"{next(self._numbers)}"
        heard: asyncio.Queue[Any] = asyncio.Queue()
        try:
            member = loaded.submit(name, prompt, request.owner, request.sampling, most, heard.put_nowait)
            member.reads = partial(_tell, asyncio.get_running_loop(), heard)
            detokenizer = Detokenizer(loaded.decode, prompt.ids)
            stops = StopStrings(request.sampling.stop)
            total = waiting = 0
            async with aclosing(_tokens(heard, loaded)) as tokens:
                async for token in tokens:
                    if token is None:
                        yield Progress()
                        continue
                    total += 1
                    waiting += 1
                    if text := stops.feed(detokenizer.feed(token)):
                        yield Piece(text, waiting)
                        waiting = 0
                    if stops.met:
                        break
            rest = "" if stops.met else stops.close()
            if rest or waiting:
                yield Piece(rest, waiting)
            yield Closed("length" if total == most and not stops.met else "stop", total, member.cached or 0)
        finally:
            loaded.batch.drop(name)

    def _say(self, progress: str, share: float | None) -> None:
        """Called in the thread that loads."""
        self._progress, self._share = progress, share

    def _running(self) -> Loaded:
        if self._loaded is None:
            raise Unavailable("the engine is not running")
        return self._loaded

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _close(loading: Future[Loaded]) -> None:
    """Of a start that was given up: what it loads all the same, as soon as it is there."""
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def _tell(loop: asyncio.AbstractEventLoop, heard: asyncio.Queue[Any]) -> None:
    """Called in the batch's thread: a part of the prompt was read."""
    with suppress(RuntimeError):  # the loop has ended before the batch
        loop.call_soon_threadsafe(heard.put_nowait, None)


async def _tokens(heard: asyncio.Queue[Any], loaded: Loaded) -> AsyncGenerator[int | None, None]:
    """Token ids as they are chosen, until one that ends the text; None for a part of the prompt.

    Raises:
        Unavailable, Rejected, Died.
    """
    seen = 0
    while True:
        if (output := await heard.get()) is None:
            yield None
            continue
        for token in output.generated_tokens[seen:]:
            if token == loaded.vocabulary:
                raise RequestRejected("the model's logits are no numbers (NaN), so the request was given up")
            if token in loaded.end_ids:
                return
            yield token
        seen = len(output.generated_tokens)
        if output.error is not None:
            raise loaded.batch.failure(f"the request failed: {output.error}")
        if output.is_finished():
            return


@frozen_allocations()
def _load(reference: str, options: TransformersOptions, say: Say) -> Loaded:
    from inference.engines.transformers.loading import load

    return load(reference, options, say)


def _name(reference: str) -> str:
    """The last part of a hub id or a path."""
    return reference.rstrip("/").rpartition("/")[2] or reference
