"""An engine under supervision: one that has died or hangs is replaced, and the requests go on with the new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from inference.api import ChatRequest, InferenceError, Interrupted, Message, ModelInfo, OutOfMemory, Unavailable
from inference.engines.partial_answer import PartialAnswer
from inference.engines.port import Died, Engine, Output, Piece, Replacing, RequestRejected
from inference.failures.error_classes import is_out_of_memory
from inference.failures.liveness import Liveness
from inference.failures.suspects import Suspects, Trial

log = logging.getLogger(__name__)

T = TypeVar("T")
_CLOSE_WITHIN_S = 10.0
# One more chance for a request whose engine died; a request that kills engines must not kill them for ever.
_ATTEMPTS = 2
# A new engine that did not start is followed by another one after so long, if no request asks for it before.
_AGAIN_S = 30.0
# A check that takes longer counts as failed, unless the engine did other work meanwhile.
_CHECK_S = 30.0
# Silence is looked for so often, and at least this many times before it counts.
_LOOK_S, _LOOKS = 5.0, 10


@dataclass(eq=False, slots=True)
class _Wait:
    """A request waits for this engine; `verdict` is what it raises when the wait is ended from outside."""

    engine: Engine
    scope: asyncio.Timeout
    verdict: InferenceError | None = None

    def end(self, verdict: InferenceError) -> None:
        if self.verdict is None and not self.scope.expired():
            self.verdict = verdict
            self.scope.reschedule(0)


class SupervisedEngine:
    """Passes everything on to an engine that `make` makes, and replaces one that is broken.

    What is broken and what is one request's own failure: the table in docs/reliability.md.

    Args:
        make: a new engine, not started.
        silence_s: an engine whose `steps` stand still for so long, while a request waits, is checked. A first
            compilation is silent, too.
    """

    def __init__(self, make: Callable[[], Engine], *, silence_s: float) -> None:
        self._make = make
        self._silence_s = silence_s
        self._engine = make()
        self._info = self._engine.info
        """Of the engine that has died."""
        self._dead = False
        self._liveness: Liveness[_Wait] = Liveness(silence_s)
        self._look_again: asyncio.TimerHandle | None = None
        self._checks: dict[Engine, asyncio.Task[str | None]] = {}
        self._revival: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._closing = False
        self._suspects = Suspects()
        self._ended_waiting = asyncio.Event()
        """A dead engine was replaced, or all is closed."""
        self.restarts = 0
        self.lost = False
        """The engine has died and the last attempt to replace it has failed."""

    @property
    def info(self) -> ModelInfo:
        """While a dead engine is replaced, what is known of that one: the next one knows itself when it has started."""
        return self._info if self._dead else self._engine.info

    @property
    def slots(self) -> int:
        return self._engine.slots

    @property
    def steps(self) -> int:
        return self._engine.steps

    @property
    def is_being_replaced(self) -> bool:
        return self._dead

    @property
    def progress(self) -> str:
        return self._engine.progress

    @property
    def share(self) -> float | None:
        return self._engine.share

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        self._closing = True
        self._ended_waiting.set()
        for timer in (self._again, self._look_again):
            if timer is not None:
                timer.cancel()
        for check in list(self._checks.values()):
            check.cancel()
            await asyncio.wait([check])
        if self._revival is not None:
            # An engine that is being loaded in a thread can only be closed when it is there.
            await asyncio.wait([self._revival])
        await self._engine.close()

    async def check(self) -> None:
        await (await self._living()).check()

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        failure = ""
        for _ in range(_ATTEMPTS):
            engine = await self._living()
            try:
                return await self._wait(engine, engine.count_tokens(messages))
            except Exception as error:
                failure = await self._judge(engine, error)
        raise Unavailable(f"the engine died while it counted: {failure}")

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        with self._suspects.trial(_ATTEMPTS) as trial:
            async with aclosing(self._over_engines(request, trial)) as outputs:
                async for output in outputs:
                    yield output

    async def _over_engines(self, request: ChatRequest, trial: Trial) -> AsyncGenerator[Output, None]:
        done = PartialAnswer()
        while True:
            if self._dead:
                yield Replacing()
            await trial.begins()
            engine = await self._living()
            if trial.ends:
                log.warning("request %s goes on with the new engine", request.id)
            try:
                async with aclosing(engine.generate(done.rest_of(request))) as outputs:
                    while (output := await self._wait(engine, anext(outputs, None))) is not None:
                        if isinstance(output, Piece):
                            trial.is_over()
                        for news in done.take(output):
                            yield news
                return
            except Exception as error:
                # Only its words: with the exception the dead engine's memory would be held while the new one loads.
                failure = await self._judge(engine, error)
            if not trial.ended() or (done.text and not self.info.holds_prefix):
                raise Unavailable(f"the engine died under the request: {failure}")

    async def _wait(self, engine: Engine, awaitable: Awaitable[T]) -> T:
        """Awaits, watched. Raises what the awaitable raises, OutOfMemory for what libraries call so, or a verdict."""
        if self._dead or engine is not self._engine:
            # Nobody watches it any more, and it may be silent for ever.
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise Died("it died while this request waited for nothing")
        now = asyncio.get_running_loop().time
        wait = _Wait(engine, asyncio.timeout(None))
        self._liveness.waits(wait, now())
        if self._look_again is None:
            self._look()
        try:
            async with wait.scope:
                return await awaitable
        except TimeoutError:
            if wait.verdict is None:
                raise
            raise wait.verdict from None
        except Exception as error:
            if is_out_of_memory(error) and not isinstance(error, Died | OutOfMemory):
                raise OutOfMemory(f"{type(error).__name__}: {error}") from error
            raise
        finally:
            self._liveness.ends(wait)

    def _look(self) -> None:
        """Reads the engine's counter, and ends waits that get nothing. Comes again while anybody waits."""
        self._look_again = None
        if self._liveness.idle or self._closing:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._liveness.counted(self._engine.steps, now)
        for wait in self._liveness.stuck(now):
            wait.end(RequestRejected("the engine had nothing for this request for too long, and worked for others"))
        engine = self._engine
        if self._liveness.silent(now) and not self._dead and engine not in self._checks:
            self._check_of(engine).add_done_callback(partial(self._after_silence, engine))
        self._look_again = loop.call_later(min(_LOOK_S, self._silence_s / _LOOKS), self._look)

    def _check_of(self, engine: Engine) -> asyncio.Task[str | None]:
        """One check for all who want one at the same time."""
        if (check := self._checks.get(engine)) is None:
            check = self._checks[engine] = asyncio.get_running_loop().create_task(self._broken(engine))
            check.add_done_callback(lambda _: self._checks.pop(engine, None))
        return check

    async def _broken(self, engine: Engine) -> str | None:
        """Why the engine must be replaced; None if it need not."""
        before = engine.steps
        try:
            async with asyncio.timeout(min(_CHECK_S, self._silence_s)):
                await engine.check()
        except TimeoutError:
            # Where all slots are taken the check waits behind them: work for others is an answer, too.
            return None if engine.steps != before else "a check got no answer"
        except Exception as error:  # whatever a broken library says
            lacks_memory = is_out_of_memory(error) and not isinstance(error, Died)
            return None if lacks_memory else f"a check failed: {error}"
        return None

    def _after_silence(self, engine: Engine, check: asyncio.Task[str | None]) -> None:
        if check.cancelled() or engine is not self._engine or self._dead:
            return
        silence = f"silent for {self._silence_s:g} s"
        if (why := check.result()) is not None:
            self._bury(engine, f"it was {silence}, and {why}")
            return
        for wait in self._liveness.passed(asyncio.get_running_loop().time()):
            wait.end(RequestRejected(f"the engine was {silence} for this request, and answered a check"))

    async def _judge(self, engine: Engine, error: Exception) -> str:
        """Returns what to say of the engine's death, if that is what the error is; raises the request's own errors."""
        if isinstance(error, Died):
            self._bury(engine, str(error))
            return str(error)
        own = isinstance(error, OutOfMemory | RequestRejected) or not isinstance(error, Unavailable)
        if self._closing or (isinstance(error, InferenceError) and own):
            raise error
        # An engine that is taken away fails its other requests in its own words.
        if engine is self._engine and not self._dead:
            if (why := await asyncio.shield(self._check_of(engine))) is None:
                raise error
            self._bury(engine, f"{error!r}, and {why}")
        return str(error)

    def _bury(self, engine: Engine, why: str) -> None:
        """Marks the engine as dead, counts and logs that, and ends all waits for it. Later reports are ignored."""
        if engine is not self._engine or self._dead:
            return
        self._info = engine.info
        self._dead = True
        if not self._closing:
            self._ended_waiting.clear()
        self.restarts += 1
        log.error("the engine has died, it is restarted (restart %d): %s", self.restarts, why)
        for wait in self._liveness.all():
            wait.end(Died(why))

    async def _living(self) -> Engine:
        """The engine; a dead one is replaced, and everybody waits for that, however often it fails.

        Raises Interrupted: all is closed meanwhile. How long somebody waits is bounded by the caller.
        """
        while self._dead:
            if self._closing:
                raise Interrupted("the engine is closed, and was not replaced")
            if self._revival is None:
                self._begin_revival()
            # None of those who wait may take the new engine along when they are cancelled.
            await self._ended_waiting.wait()
        return self._engine

    def _begin_revival(self) -> None:
        if self._again is not None:
            self._again.cancel()
        self._revival = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        try:
            dead, self._engine = self._engine, self._make()
            try:
                async with asyncio.timeout(_CLOSE_WITHIN_S):
                    await dead.close()
            except Exception as error:  # it is dead: whatever it says to that is for the log
                log.warning("the dead engine did not close: %r", error)
            await self._engine.start()
            self._dead = self.lost = False
            self._ended_waiting.set()
            log.info("the engine is back")
        except Exception as error:  # also what a library says whose device has failed
            self.lost = True
            if not self._closing:
                self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._begin_revival)
            log.error("the engine did not come back, it is tried again in %g s: %s", _AGAIN_S, error)
        finally:
            self._revival = None
