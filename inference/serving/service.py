"""The shared service in this process: everybody's requests over one engine and one captioner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from inference.api import (
    BadImage,
    Busy,
    Cancelled,
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Loading,
    Message,
    ModelInfo,
    OutOfMemory,
    Queued,
    Timings,
    TooLong,
    Unavailable,
)
from inference.engines.lengths import may_be_far_too_long
from inference.engines.port import Engine, TooLarge
from inference.failures.memory_trials import MemoryTrials
from inference.queueing.admission import AdmissionBounds, GaveWay, OutOfTime, ResourceQueue, Ticket, TicketCancelled
from inference.reasoning.history import without_reasoning
from inference.serving.generation import Generation, UsageMeter
from inference.serving.lifecycle import Lifecycle, ServiceState

log = logging.getLogger(__name__)

# What a caption costs in the fair queue, where only the ratio between people counts.
_CAPTION_COST = 1.0
# How often a waiting request is told its place again, in seconds.
_QUEUE_NEWS_S = 1.0
# A request is tried by itself only if the others end within so many seconds.
_ALONE_S = 15.0
# How often the log hears that a model is still loading, in seconds.
_LOADING_NEWS_S = 5.0
# An estimate for what is not counted.
_CHARACTERS_A_TOKEN = 4
# A prompt of so many tokens takes an engine several steps to read, in which it reads little of others.
_LONG_PROMPT = 1024
# So many characters of a conversation are read for their reasoning on the event loop, more in a thread.
_READ_HERE = 20_000
# How long what was given up may take to end: an engine stops within one decode step.
_GIVEN_UP_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests are answered; `seconds` since it became so, `detail` for the operator.

    `share` of the start is done (0 to 1), where that is known; `pictures`: a first one waits for what looks at it.
    """

    state: ServiceState
    detail: str
    seconds: float
    share: float | None = None
    pictures: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Requests by lane ("text", "pictures")."""

    waiting: dict[str, int]
    running: dict[str, int]
    slots: dict[str, int]


class Captioner(Protocol):
    """Describes pictures, off the event loop."""

    @property
    def name(self) -> str: ...

    @property
    def demo(self) -> bool: ...

    @property
    def answers(self) -> bool:
        """Whether `prompt` is a question that it answers, and no beginning of a caption."""
        ...

    @property
    def slots(self) -> int:
        """How many pictures it looks at in one batch."""
        ...

    @property
    def loads(self) -> bool:
        """Whether its checkpoint is being loaded, for which pictures wait."""
        ...

    async def caption(self, image: bytes, prompt: str, owner: str) -> str:
        """Describe a picture; what is remembered of it is for its owner alone. Raises BadImage or Unavailable."""
        ...

    def forget(self) -> None:
        """Drops the captions that are remembered."""
        ...

    async def close(self) -> None: ...


class LocalInference:
    """`inference.api.Inference` over one engine and, if there is one, one captioner.

    Call `start` before anything else and `close` at the end; both may take seconds.
    """

    def __init__(
        self,
        engine: Engine,
        captioner: Captioner | None = None,
        *,
        bounds: AdmissionBounds | None = None,
        clock: Callable[[], float],
    ) -> None:
        bounds = bounds or AdmissionBounds()
        self._engine = engine
        self._captioner = captioner
        self._clock = clock
        self._deadline_s = bounds.deadline_s
        self._chats = ResourceQueue(engine.slots, bounds, clock)
        self._pictures = _picture_lane(captioner.slots if captioner is not None else 1, bounds, clock)
        self._lifecycle = Lifecycle(clock)
        self._settled = asyncio.Event()
        """The model is loaded, or nobody is to wait for it any more."""
        # The others end within so long, and then the request has as long for its first event.
        self._trials = MemoryTrials(2 * _ALONE_S)

    @property
    def info(self) -> ModelInfo:
        if self._captioner is None:
            return self._engine.info
        eyes = self._captioner
        return replace(self._engine.info, captioner=eyes.name, demo_captioner=eyes.demo, captioner_answers=eyes.answers)

    @property
    def is_away(self) -> bool:
        return self._engine.is_being_replaced

    def loading(self, what: Literal["model", "pictures"] = "model") -> Loading | None:
        if what == "pictures":
            return Loading("pictures") if self._captioner is not None and self._captioner.loads else None
        match self._lifecycle.state:
            case "loading":
                return Loading(share=self._engine.share)
            case "failed":
                return Loading(state="failed")
        return None

    async def ready(self) -> None:
        await self._settled.wait()
        self._lifecycle.admit()

    @property
    def readiness(self) -> Readiness:
        life = self._lifecycle
        if life.state in ("ready", "restarting"):
            life.become("restarting" if self._engine.lost else "ready")
        detail = self._progress if life.state == "loading" else self._engine.info.name
        share = self._engine.share if life.state == "loading" else None
        return Readiness(life.state, detail, life.seconds, share, self.loading("pictures") is not None)

    @property
    def load(self) -> Load:
        lanes = {"text": self._chats.load, "pictures": self._pictures.load}
        counts = [{name: load[index] for name, load in lanes.items()} for index in range(3)]
        return Load(*counts)

    async def start(self) -> None:
        """Raises Unavailable when the model cannot be loaded; who waits for it waits until `drain` or `close`."""
        failure: Unavailable | None = None
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            try:
                await self._engine.start()
            except Unavailable as error:
                failure = error
            except Exception as error:  # of a library: who waits must hear of it as of any other failure
                log.exception("%s cannot be loaded", self._engine.info.name)
                why = f"{self._engine.info.name} cannot be loaded: {type(error).__name__}: {error}"
                failure = Unavailable(f"{why} (the log says more)")
            finally:
                reporter.cancel()
        self._lifecycle.become("ready" if failure is None else "failed")
        if failure is not None:
            raise failure
        self._settled.set()

    async def drain(self, deadline_s: float) -> None:
        self._lifecycle.become("draining")
        self._settled.set()
        if await self._idle_within(deadline_s):
            return
        for lane in (self._chats, self._pictures):
            lane.interrupt_all("the service is being stopped")
        if not await self._idle_within(_GIVEN_UP_WITHIN_S):
            log.warning("requests that were given up have not ended within %g s", _GIVEN_UP_WITHIN_S)

    async def _idle_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._chats.idle.wait()
                await self._pictures.idle.wait()
                return True
        return False

    async def close(self) -> None:
        self._lifecycle.become("stopped")
        self._settled.set()
        for lane in (self._chats, self._pictures):
            lane.interrupt_all("the service is stopped")
        await self._engine.close()
        if self._captioner is not None:
            await self._captioner.close()

    def cancel(self, request_id: str) -> None:
        self._chats.cancel(request_id)
        self._pictures.cancel(request_id)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._engine.count_tokens(await self._history(messages))
        except TimeoutError:
            raise Unavailable("the engine did not count before the deadline") from None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self._check_prefix(request)
        prompt = sum(len(message.content) for message in request.messages) // _CHARACTERS_A_TOKEN
        is_long = prompt >= _LONG_PROMPT
        cost = request.sampling.max_new_tokens + prompt * is_long
        ticket = self._enter(self._chats, request, cost, is_long=is_long)
        meter = UsageMeter(self._clock, arrived=self._clock())
        try:
            request = replace(request, messages=tuple(await ticket.wait(self._history(request.messages))))
            async with aclosing(self._until_turn(request.id, ticket)) as places:
                async for place in places:
                    yield place
            meter.started = self._clock()
            async with aclosing(self._answered(request, ticket, meter)) as events:
                async for event in events:
                    if is_long and meter.first is not None:
                        self._chats.read(request.id)
                        is_long = False
                    yield event
        except TicketCancelled:
            yield meter.finished("cancelled")
        except GaveWay:
            raise Busy(self._chats.wait_s(), gave_way=True) from None
        except OutOfTime:
            if meter.started is None:
                raise Busy(self._chats.wait_s()) from None
            if meter.first is None:
                raise Unavailable("the engine had nothing for this request before its deadline") from None
            yield meter.finished("length")
        finally:
            self._chats.leave(request.id, meter.spent)

    async def _answered(self, request: ChatRequest, ticket: Ticket, meter: UsageMeter) -> AsyncGenerator[Event, None]:
        """The answer and its end. One that lacked memory beside others is tried once more by itself."""
        answer = Generation(self._engine, request, ticket, meter)
        together = 0
        try:
            async with aclosing(answer.events()) as events:
                async for event in events:
                    yield event
        except OutOfMemory as error:
            together = self._chats.load[1]
            if not self._worth_a_trial(error, request, meter, together):
                raise
        if together:
            answer = Generation(self._engine, request, ticket, meter)
            async with aclosing(answer.events()) as events:
                if (first := await self._by_itself(request, events, meter, together)) is not None:
                    yield first
                async for event in events:
                    yield event
        self._trials.fitted(meter.prompt_tokens)
        self._chats.restore()
        yield meter.finished(answer.reason)

    def _worth_a_trial(self, error: OutOfMemory, request: ChatRequest, meter: UsageMeter, together: int) -> bool:
        """False: this request fails now. Others have fewer slots only where it is certain that it was their number."""
        if isinstance(error, TooLarge) or together == 1:
            self._trials.failed(meter.prompt_tokens)
            return False
        if meter.first is not None:
            self._chats.shrink(request.id, together)
            return False
        return self._trials.begin(request.owner, meter.prompt_tokens, self._clock())

    async def _by_itself(
        self, request: ChatRequest, events: AsyncGenerator[Event, None], meter: UsageMeter, together: int
    ) -> Event | None:
        """The first event of an answer that nothing else runs beside. Raises OutOfMemory."""
        began = self._clock()
        try:
            async with self._chats.alone(request.id, _ALONE_S):
                first = await anext(events, None)
        except TimeoutError:
            self._chats.shrink(request.id, together)
            raise OutOfMemory("there was no memory for it beside others, who did not end in time") from None
        except OutOfMemory:
            self._trials.failed(meter.prompt_tokens)
            raise
        finally:
            self._trials.end(began, self._clock())
        self._chats.shrink(request.id, together)
        return first

    async def caption(self, request: CaptionRequest) -> Caption:
        if self._captioner is None:
            raise Unavailable("no captioner is configured")
        if not request.image:
            raise BadImage("it is empty")
        arrived = self._clock()
        ticket = self._enter(self._pictures, request, _CAPTION_COST)
        try:
            await ticket.wait(ticket.turn.wait())
            started = self._clock()
            # A picture is decoded in a thread, which nothing can interrupt: only the wait for it is given up.
            text = await ticket.wait(self._captioner.caption(request.image, request.prompt, request.owner))
        except TicketCancelled:
            raise Cancelled from None
        except GaveWay:
            raise Busy(self._pictures.wait_s(), gave_way=True) from None
        except OutOfTime:
            raise Busy(self._pictures.wait_s()) from None
        finally:
            self._pictures.leave(request.id, _CAPTION_COST)
        return Caption(text, Timings(queued_s=started - arrived, total_s=self._clock() - arrived))

    async def forget_captions(self) -> None:
        if self._captioner is not None:
            self._captioner.forget()

    def _check_prefix(self, request: ChatRequest) -> None:
        """Raises TooLong: no context holds it, so it is not read for its reasoning, which happens on the event loop."""
        said, context = [Message("assistant", request.prefix)], self._engine.info.context_tokens
        if context and may_be_far_too_long(said, context):
            raise TooLong(context, max(context + 1, len(request.prefix) // _CHARACTERS_A_TOKEN))

    async def _history(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Without the reasoning of earlier turns; what no context holds is refused as it is, and not read for that."""
        context, size = self._engine.info.context_tokens, sum(len(message.content) for message in messages)
        if context and may_be_far_too_long(messages, context):
            return messages
        return (
            without_reasoning(messages) if size <= _READ_HERE else await asyncio.to_thread(without_reasoning, messages)
        )

    def _enter(
        self, lane: ResourceQueue, request: ChatRequest | CaptionRequest, cost: float, *, is_long: bool = False
    ) -> Ticket:
        self._lifecycle.admit()
        return lane.enter(request.id, request.owner, cost, request.standing, request.group, is_long=is_long)

    async def _until_turn(self, request_id: str, ticket: Ticket) -> AsyncGenerator[Queued, None]:
        """Yields the place whenever it has changed, until it is the request's turn."""
        told: Queued | None = None
        while not ticket.turn.is_set():
            place = self._chats.place(request_id)
            if place is not None and place != told:
                told = place
                yield place
            try:
                await ticket.wait(ticket.turn.wait(), _QUEUE_NEWS_S)
            except TimeoutError:
                continue

    @property
    def _progress(self) -> str:
        return self._engine.progress or f"loading {self._engine.info.name}"

    async def _report(self) -> None:
        """Long silence at a start looks like a hang."""
        while True:
            await asyncio.sleep(_LOADING_NEWS_S)
            log.info("%s: %.0f s", self._progress, self._lifecycle.seconds)


def _picture_lane(slots: int, bounds: AdmissionBounds, clock: Callable[[], float]) -> ResourceQueue:
    """One person may fill half a batch: pictures take a moment, and a batch costs little more than one of them."""
    return ResourceQueue(
        slots, replace(bounds, max_active_per_owner=max(bounds.max_active_per_owner, slots // 2)), clock
    )
