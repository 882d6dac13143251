"""The shared service in this process: everybody's requests over one engine and one captioner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from inference.answers import Answer, Meter
from inference.api import (
    BadImage,
    Cancelled,
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Message,
    ModelInfo,
    Queued,
    Timings,
    Unavailable,
)
from inference.engines.port import Engine
from inference.lanes import Bounds, Lane, Ticket, TicketCancelled

# What a caption costs in the fair queue, where only the ratio between people counts.
_CAPTION_COST = 1.0
# How often a waiting request is told its place again, in seconds.
_QUEUE_NEWS_S = 1.0


class Captioner(Protocol):
    """Describes pictures, off the event loop."""

    @property
    def name(self) -> str: ...

    @property
    def demo(self) -> bool: ...

    async def caption(self, image: bytes, prompt: str) -> str:
        """Raises BadImage or Unavailable."""
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
        bounds: Bounds | None = None,
        clock: Callable[[], float],
    ) -> None:
        bounds = bounds or Bounds()
        self._engine = engine
        self._captioner = captioner
        self._clock = clock
        self._chats = Lane(engine.slots, bounds, clock)
        self._pictures = Lane(1, bounds, clock)
        self._draining = False

    @property
    def info(self) -> ModelInfo:
        if self._captioner is None:
            return self._engine.info
        return replace(self._engine.info, captioner=self._captioner.name, demo_captioner=self._captioner.demo)

    async def start(self) -> None:
        """Raises Unavailable when the model cannot be loaded."""
        await self._engine.start()

    async def drain(self, deadline_s: float) -> None:
        """Takes nothing new, lets what runs finish until the deadline, then cancels the rest."""
        self._draining = True
        try:
            async with asyncio.timeout(deadline_s):
                await self._chats.idle.wait()
                await self._pictures.idle.wait()
        except TimeoutError:
            self._chats.cancel_all()
            self._pictures.cancel_all()

    async def close(self) -> None:
        self._draining = True
        await self._engine.close()
        if self._captioner is not None:
            await self._captioner.close()

    def cancel(self, request_id: str) -> None:
        self._chats.cancel(request_id)
        self._pictures.cancel(request_id)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await self._engine.count_tokens(messages)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        ticket = self._enter(self._chats, request.id, request.owner, request.sampling.max_new_tokens)
        meter = Meter(self._clock, arrived=self._clock())
        try:
            async with aclosing(self._until_turn(request.id, ticket)) as places:
                async for place in places:
                    yield place
            meter.started = self._clock()
            answer = Answer(self._engine, request, ticket, meter)
            async with aclosing(answer.events()) as events:
                async for event in events:
                    yield event
            yield meter.finished(answer.reason)
        except TicketCancelled:
            yield meter.finished("cancelled")
        finally:
            self._chats.leave(request.id, meter.spent)

    async def caption(self, request: CaptionRequest) -> Caption:
        if self._captioner is None:
            raise Unavailable("no captioner is configured")
        if not request.image:
            raise BadImage("it is empty")
        arrived = self._clock()
        ticket = self._enter(self._pictures, request.id, request.owner, _CAPTION_COST)
        try:
            await ticket.wait(ticket.turn.wait())
            started = self._clock()
            # A picture is decoded in a thread, which nothing can interrupt: only the wait for it is given up.
            text = await ticket.wait(self._captioner.caption(request.image, request.prompt))
        except TicketCancelled:
            raise Cancelled from None
        finally:
            self._pictures.leave(request.id, _CAPTION_COST)
        return Caption(text, Timings(queued_s=started - arrived, total_s=self._clock() - arrived))

    def _enter(self, lane: Lane, request_id: str, owner: str, cost: float) -> Ticket:
        if self._draining:
            raise Unavailable("the service is shutting down")
        return lane.enter(request_id, owner, cost)

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
