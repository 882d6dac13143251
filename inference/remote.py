"""`inference.api.Inference` over HTTP: what `partyline serve` offers, as if it were in this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from inference.answers import Meter
from inference.api import (
    BadImage,
    Cancelled,
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Message,
    ModelInfo,
    Text,
    Thinking,
    Timings,
    Unavailable,
)
from inference.lanes import Ticket, TicketCancelled
from inference.wire import ChunkReader, read_error, read_info, write_messages, write_request

log = logging.getLogger(__name__)

T = TypeVar("T")
PREFIX = "partyline+"
_CONNECT_S = 5.0
# A stream has a heartbeat every 15 s; a caption may wait for a model that is loaded first.
_STREAM_SILENCE_S = 60.0
_SILENCE_S = 300.0
_POLL_S = 1.0
_LOADING_NEWS_S = 5


class RemoteInference:
    """One service at an address (`http://host:8081`), asked with a bearer key.

    Call `start` before anything else: it waits until the service has loaded its model.
    """

    def __init__(self, address: str, key: str, *, clock: Callable[[], float]) -> None:
        self._address = address.rstrip("/")
        self._key = key
        self._clock = clock
        self._info = ModelInfo(name=self._address, context_tokens=0)
        self._http: aiohttp.ClientSession | None = None
        self._tickets: dict[str, Ticket] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    @property
    def info(self) -> ModelInfo:
        return self._info

    async def start(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        # Nobody else bounds how many people are answered at once: the service does.
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(timeout=_timeout(_SILENCE_S), headers=headers, connector=connector)
        await self._until_ready()
        self._info = read_info(await self._json("GET", "/v1/models"))

    async def drain(self, deadline_s: float) -> None:
        self._draining = True
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            for ticket in list(self._tickets.values()):
                ticket.cancel()

    async def close(self) -> None:
        self._draining = True
        if self._http is not None:
            await self._http.close()

    def cancel(self, request_id: str) -> None:
        if (ticket := self._tickets.get(request_id)) is not None:
            ticket.cancel()

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        reply = await self._json("POST", "/tokenize", json={"messages": write_messages(messages)})
        try:
            return int(reply["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("the service did not count the tokens") from error

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        ticket = self._enter(request.id)
        meter = Meter(self._clock, arrived=self._clock())
        try:
            async with aclosing(self._events(request, ticket)) as events:
                async for event in events:
                    if isinstance(event, Text | Thinking):
                        meter.token(type(event), 1)
                    yield event
        except TicketCancelled:
            # The connection is closed, which is how the service learns of it; the tokens are those seen here.
            yield meter.finished("cancelled")
        finally:
            self._leave(request.id)

    async def caption(self, request: CaptionRequest) -> Caption:
        if not request.image:
            raise BadImage("it is empty")
        ticket = self._enter(request.id)
        form = aiohttp.FormData({"prompt": request.prompt, "user": request.owner})
        form.add_field("image", request.image, filename="image", content_type="application/octet-stream")
        try:
            reply = await ticket.wait(self._json("POST", "/v1/captions", data=form))
            return Caption(str(reply["text"]), Timings(**reply["timings"]))
        except TicketCancelled:
            raise Cancelled from None
        except (KeyError, TypeError) as error:
            raise Unavailable("the service sent no caption") from error
        finally:
            self._leave(request.id)

    def _enter(self, request_id: str) -> Ticket:
        if self._draining:
            raise Unavailable("the service is shutting down")
        if request_id in self._tickets:
            raise Unavailable(f"request id {request_id} is in use")
        ticket = self._tickets[request_id] = Ticket()
        self._idle.clear()
        return ticket

    def _leave(self, request_id: str) -> None:
        self._tickets.pop(request_id, None)
        if not self._tickets:
            self._idle.set()

    async def _events(self, request: ChatRequest, ticket: Ticket) -> AsyncGenerator[Event, None]:
        reader = ChunkReader()
        body = write_request(request, self._info.name)
        timeout = _timeout(_STREAM_SILENCE_S)
        async with self._asking("POST", "/v1/chat/completions", ticket.wait, json=body, timeout=timeout) as response:
            while (line := await _spoken(ticket.wait(response.content.readline()))) and reader.finished is None:
                if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                    continue
                try:
                    events = reader.take(json.loads(line[5:]))
                except (KeyError, TypeError, ValueError) as error:
                    raise Unavailable(f"the service sent what is no event: {error!r}") from error
                for event in events:
                    yield event
        if reader.finished is None:
            raise Unavailable("the service ended the stream before the answer")
        yield reader.finished

    @asynccontextmanager
    async def _asking(
        self, method: str, path: str, wait: Callable[[Awaitable[Any]], Awaitable[Any]], **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A reply with status 200. Raises InferenceError."""
        if self._http is None or self._http.closed:
            raise Unavailable("the connection to the service is closed")
        response = await _spoken(wait(self._http.request(method, self._address + path, **options)))
        try:
            if response.status != 200:
                raise await _failure(response)
            yield response
        finally:
            response.close()

    async def _json(self, method: str, path: str, **body: Any) -> Any:
        async with self._asking(method, path, _as_it_is, **body) as response:
            return await _spoken(response.json())

    async def _until_ready(self) -> None:
        """Raises Unavailable: nothing listens there, or the model could not be loaded."""
        seconds = 0
        while True:
            if self._http is None:
                raise Unavailable("the connection to the service is closed")
            async with await _spoken(self._http.get(f"{self._address}/readyz")) as response:
                if response.status == 200:
                    return
                state = await _state(response)
            if state.get("status") not in ("loading", "restarting"):
                raise Unavailable(f"{self._address} is not ready: {state.get('status', response.status)}")
            if seconds % _LOADING_NEWS_S == 0:
                log.info("%s: %s, %s s", self._address, state.get("detail"), state.get("seconds"))
            await asyncio.sleep(_POLL_S)
            seconds += 1


def _timeout(silence_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s)


async def _as_it_is(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _spoken(call: Awaitable[T]) -> T:
    """Awaits what speaks to the service; no word of the library leaves this module."""
    try:
        return await call
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unavailable(f"the service does not answer: {error!r}") from error


async def _failure(response: aiohttp.ClientResponse) -> Exception:
    if response.status == 401:
        return Unavailable("the service refuses the key: set PARTYLINE_INFERENCE__API_KEY to its key")
    body = await _state(response)
    return read_error(body.get("error", f"status {response.status}"))


async def _state(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json()
    except (aiohttp.ClientError, OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
