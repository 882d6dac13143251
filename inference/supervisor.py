"""An engine under supervision: one that has died or hangs is replaced, and the requests go on with the new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from inference.api import ChatRequest, Message, ModelInfo, OutOfMemory, Unavailable
from inference.engines.port import Died, Engine, Opened, Output, Piece
from inference.faults import is_out_of_memory
from inference.thinking import OPEN

log = logging.getLogger(__name__)

_CLOSE_WITHIN_S = 10.0
# One more chance for a request whose engine died; a request that kills engines must not kill them for ever.
_ATTEMPTS = 2
# A new engine that did not start is followed by another one after so long, if no request asks for it before.
_AGAIN_S = 30.0


class SupervisedEngine:
    """Passes everything on to an engine that `make` makes.

    Args:
        make: a new engine, not started.
        silence_s: an engine that has a request and says nothing for so long counts as hanging. Long prompts and a
            first compilation are silent, too.
    """

    def __init__(self, make: Callable[[], Engine], *, silence_s: float) -> None:
        self._make = make
        self._silence_s = silence_s
        self._engine = make()
        self._dead = False
        self._revival: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._closing = False
        self.restarts = 0
        self.lost = False
        """The engine has died and the last attempt to replace it has failed."""

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    @property
    def slots(self) -> int:
        return self._engine.slots

    @property
    def progress(self) -> str:
        """What the engine says of its loading, where it says anything."""
        return str(getattr(self._engine, "progress", ""))

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        self._closing = True
        if self._again is not None:
            self._again.cancel()
        if self._revival is not None:
            # An engine that is being loaded in a thread can only be closed when it is there.
            await asyncio.wait([self._revival])
        await self._engine.close()

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await (await self._living()).count_tokens(messages)

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        done = _Done()
        # Only its words: with the exception the dead engine's memory would be held while the new one loads.
        failure: str | None = None
        for _ in range(_ATTEMPTS):
            engine = await self._living()
            if failure is not None:
                if done.text and not engine.info.holds_prefix:
                    break
                log.warning("request %s goes on with the new engine", request.id)
            try:
                async with aclosing(self._watched(engine, done.rest_of(request))) as outputs:
                    async for output in outputs:
                        for news in done.take(output):
                            yield news
                return
            except Died as death:
                failure = str(death)
                self._bury(engine, failure)
            except OutOfMemory:
                raise
            except Unavailable as error:
                # An engine that is taken away fails its other requests in its own words.
                if engine is self._engine and not self._dead:
                    raise
                failure = str(error)
        raise Unavailable(f"the engine died under the request: {failure}")

    async def _watched(self, engine: Engine, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """The engine's outputs; its silence and its faults as exceptions that say what to do."""
        async with aclosing(engine.generate(request)) as outputs:
            while (output := await self._next(outputs)) is not None:
                yield output

    async def _next(self, outputs: AsyncGenerator[Output, None]) -> Output | None:
        try:
            async with asyncio.timeout(self._silence_s):
                return await anext(outputs, None)
        except TimeoutError as error:
            raise Died(f"it was silent for {self._silence_s:g} s") from error
        except Exception as error:
            if is_out_of_memory(error) and not isinstance(error, Died):
                raise OutOfMemory(f"{type(error).__name__}: {error}") from error
            raise

    def _bury(self, engine: Engine, why: str) -> None:
        """Whoever finds it dead first says so."""
        if engine is self._engine and not self._dead:
            self._dead = True
            self.restarts += 1
            log.error("the engine has died, it is restarted (restart %d): %s", self.restarts, why)

    async def _living(self) -> Engine:
        """The engine; a dead one is replaced, and everybody waits for that. Raises Unavailable: that failed."""
        if self._dead:
            # Shared by all who wait; none of them may take it along when they are cancelled.
            await asyncio.shield(self._revival or self._begin_revival())
        return self._engine

    def _begin_revival(self) -> asyncio.Task[None]:
        if self._again is not None:
            self._again.cancel()
        self._revival = asyncio.get_running_loop().create_task(self._revive())
        self._revival.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._revival

    async def _revive(self) -> None:
        """Raises Unavailable."""
        try:
            dead, self._engine = self._engine, self._make()
            try:
                async with asyncio.timeout(_CLOSE_WITHIN_S):
                    await dead.close()
            except Exception as error:  # it is dead: whatever it says to that is for the log
                log.warning("the dead engine did not close: %r", error)
            await self._engine.start()
            self._dead = self.lost = False
            log.info("the engine is back")
        except Exception as error:  # also what a library says whose device has failed
            self.lost = True
            if not self._closing:
                self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._begin_revival)
            log.error("the engine did not come back, it is tried again in %g s: %s", _AGAIN_S, error)
            raise Unavailable(f"the engine did not come back: {error}") from error
        finally:
            self._revival = None


class _Done:
    """What one request has got already, over several engines."""

    def __init__(self) -> None:
        self.text = ""
        self._tokens = 0
        self._opened: Opened | None = None

    def take(self, output: Output) -> list[Output]:
        """The output as the caller should see it: one answer, whatever was behind it."""
        if isinstance(output, Opened):
            first, self._opened = self._opened is None, self._opened or output
            return [output] if first else []
        if isinstance(output, Piece):
            self.text += output.text
            self._tokens += output.tokens
            return [output]
        return [replace(output, completion_tokens=max(output.completion_tokens, self._tokens))]

    def rest_of(self, request: ChatRequest) -> ChatRequest:
        if not self.text:
            return request
        room = max(1, request.sampling.max_new_tokens - self._tokens)
        sampling = replace(
            request.sampling, max_new_tokens=room, min_new_tokens=min(room, request.sampling.min_new_tokens)
        )
        # A template that begins the reasoning has written the tag that must stand before what was said.
        inside = self._opened is not None and self._opened.thinking
        return replace(request, prefix=request.prefix + (OPEN if inside else "") + self.text, sampling=sampling)
