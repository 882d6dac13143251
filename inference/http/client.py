"""`inference.api.Inference` over HTTP: what `partyline serve` offers, as if it were in this process.

A service that is away (restarted, killed, not reached) is like a database that is away: what is asked waits for it,
and what was under way goes on from its text.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

import aiohttp

from inference.api import (
    BadImage,
    Busy,
    Cancelled,
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Finished,
    Interrupted,
    Loading,
    Message,
    ModelInfo,
    Queued,
    Reclassified,
    Text,
    Thinking,
    Timings,
    Unavailable,
)
from inference.checkpoints.references import without_user
from inference.failures.suspects import Suspects, Trial
from inference.http.wire import ChunkReader, read_error, read_info, write_messages, write_person, write_request
from inference.queueing.admission import Ticket, TicketCancelled
from inference.serving.generation import UsageMeter
from inference.serving.lifecycle import Lifecycle
from inference.serving.resumption import Resumption

log = logging.getLogger(__name__)

T = TypeVar("T")
_CONNECT_S = 5.0
# Whatever is late has a heartbeat every 15 s.
_SILENCE_S = 60.0
# A service that is restarted may be back within a second.
_POLL_S = 0.5
_PROBE_S = 5.0
_ABSENCE_NEWS_S = 5.0
_ASK_AGAIN_S = 1.0
# A request under which services go away, one after the other, before it has brought anything: it may be the reason.
_LOSSES = 5
# What a service says that will answer soon, and what proxies say of one that does not.
_COMING = frozenset({"loading", "restarting", "draining", "stopped", "failed"})
_NOT_THERE = frozenset({502, 503, 504})


class _Away(Exception):
    """The service is not there, or has gone: it is waited for. The text is for the log."""


class _Lost(_Away):
    """It has gone under a request, and did not say why."""


class RemoteInference:
    """One service at an address (`http://host:8081`), asked with a bearer key.

    Call `start` before anything else.

    Args:
        patience_s: how long a request waits for a service that is away, counted from its arrival.
        patient: `start` waits for a service that is not there, too, for ever.
    """

    def __init__(
        self,
        address: str,
        key: str,
        *,
        clock: Callable[[], float],
        patience_s: float = 600.0,
        patient: bool = False,
    ) -> None:
        self._address = address.rstrip("/")
        self._shown = without_user(self._address)
        self._key = key
        self._clock = clock
        self._patience_s = patience_s
        self._patient = patient
        self._info = ModelInfo(name=self._shown, context_tokens=0)
        self._http: aiohttp.ClientSession | None = None
        self._lifecycle = Lifecycle(clock)
        self._tickets: dict[str, Ticket] = {}
        self._waiting: set[Ticket] = set()
        """Those of requests that wait until the service is back."""
        self._counted = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._suspects = Suspects()
        self._looking = asyncio.Lock()
        """Held by the one request that looks whether the service is back, for all that wait."""
        self._looks = 0
        """How often it was found to be back."""
        self._settled = asyncio.Event()
        """It was found, or nobody is to wait for it any more."""
        self._state: dict[str, Any] = {}
        """What it said last of itself; nothing while it is not reached."""
        self._asked_at = float("-inf")

    @property
    def info(self) -> ModelInfo:
        """As it was when the service was last found: after a restart it may have another model."""
        return self._info

    @property
    def is_away(self) -> bool:
        return bool(self._waiting)

    def loading(self, what: Literal["model", "pictures"] = "model") -> Loading | None:
        if what == "pictures":
            return Loading("pictures") if self._state.get("pictures") == "loading" else None
        if self._state.get("status") == "loading":
            share = self._state.get("share")
            return Loading(share=float(share) if isinstance(share, int | float) else None)
        if self._settled.is_set():
            return None
        return Loading(state="failed" if self._lifecycle.state == "failed" else "away")

    async def ready(self) -> None:
        await self._settled.wait()
        self._lifecycle.admit()

    async def start(self) -> None:
        """Waits until the service has loaded its model.

        Raises:
            Unavailable: it refuses the key, or is no such service; or nothing answers there, unless this is patient.
        """
        headers = {"Authorization": f"Bearer {self._key}"}
        # Nobody else bounds how many people are answered at once: the service does.
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        self._http = aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector)
        try:
            await self._until_ready(patient=self._patient)
        except Exception as error:
            self._lifecycle.become("failed")
            if isinstance(error, Unavailable):
                raise
            if not isinstance(error, _Away):
                log.exception("%s: the service is not found", self._shown)
            raise Unavailable(str(error) or repr(error)) from error
        self._lifecycle.become("ready")
        self._settled.set()

    async def drain(self, deadline_s: float) -> None:
        self._lifecycle.become("draining")
        self._settled.set()
        for ticket in list(self._waiting):
            ticket.interrupt("the bot is being stopped, and the service is away")
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            self._give_up()

    async def close(self) -> None:
        self._lifecycle.become("stopped")
        self._settled.set()
        self._give_up()
        if self._http is not None:
            await self._http.close()

    def _give_up(self) -> None:
        for ticket in list(self._tickets.values()):
            ticket.interrupt("the bot is being stopped")

    def cancel(self, request_id: str) -> None:
        if (ticket := self._tickets.get(request_id)) is not None:
            ticket.cancel()

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        self._counted += 1
        return await self._present(f"count {self._counted}", lambda ticket: self._count(ticket, messages))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        ticket = self._enter(request.id)
        meter = UsageMeter(self._clock, arrived=self._clock())
        try:
            async with aclosing(self._whole(request, ticket, meter)) as events:
                async for event in events:
                    if isinstance(event, Text | Thinking):
                        meter.token(type(event), 1)
                    elif isinstance(event, Reclassified):
                        meter.reclassify()
                    yield event
        except TicketCancelled:
            # The connection is closed, which is how the service learns of it; the tokens are those seen here.
            yield meter.finished("cancelled")
        finally:
            self._leave(request.id)

    async def caption(self, request: CaptionRequest) -> Caption:
        if not request.image:
            raise BadImage("it is empty")
        try:
            return await self._present(request.id, lambda ticket: self._caption(ticket, request))
        except TicketCancelled:
            raise Cancelled from None

    async def forget_captions(self) -> None:
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._json("DELETE", "/v1/captions")
        except (_Away, TimeoutError) as error:
            raise Unavailable(f"captions are not dropped: {error!r}") from error

    def _enter(self, request_id: str) -> Ticket:
        """Raises Interrupted: nothing new is taken."""
        self._lifecycle.admit()
        if request_id in self._tickets:
            raise Unavailable(f"request id {request_id} is in use")
        ticket = self._tickets[request_id] = Ticket()
        self._idle.clear()
        return ticket

    def _leave(self, request_id: str) -> None:
        self._tickets.pop(request_id, None)
        if not self._tickets:
            self._idle.set()

    async def _present(self, request_id: str, ask: Callable[[Ticket], Coroutine[Any, Any, T]]) -> T:
        """What the service says, which is waited for while it is away. Raises InferenceError, TicketCancelled."""
        ticket, patience = self._enter(request_id), _Patience(self._clock, self._patience_s)
        try:
            while True:
                looks = self._looks
                try:
                    return await ask(ticket)
                except _Away as error:
                    patience.lose(error)
                    await self._until_back(ticket, looks, patience, error)
                except Busy as busy:
                    await patience.until_less_busy(ticket, busy)
        finally:
            self._leave(request_id)

    async def _whole(self, request: ChatRequest, ticket: Ticket, meter: UsageMeter) -> AsyncGenerator[Event, None]:
        """The events of one answer, however often the service goes away meanwhile."""
        with self._suspects.trial(_LOSSES) as trial:
            async with aclosing(self._over_services(request, ticket, meter, trial)) as events:
                async for event in events:
                    yield event

    async def _over_services(
        self, request: ChatRequest, ticket: Ticket, meter: UsageMeter, trial: Trial
    ) -> AsyncGenerator[Event, None]:
        resumption, patience = Resumption(request), _Patience(self._clock, self._patience_s)
        while True:
            looks = self._looks
            await ticket.wait(trial.begins())
            try:
                rest = await resumption.rest(lambda messages: self._count(ticket, messages))
                async with aclosing(self._events(rest, ticket)) as events:
                    async for event in events:
                        if isinstance(event, Text | Thinking):
                            patience.losses = 0
                            trial.goes_on()
                        if isinstance(event, Finished) and patience.was_needed:
                            event = resumption.whole(event, meter)
                        yield resumption.take(event)
                return
            except _Away as error:
                if resumption.is_begun and not self._info.continues:
                    raise Unavailable(f"the model cannot go on from a text: {error}") from error
                patience.lose(error)
                if isinstance(error, _Lost) and not trial.ended():
                    raise Unavailable(f"the service goes away under the request: {error}") from error
                trial.is_over()
                failure = error
            except Busy as busy:
                trial.is_over()
                await patience.until_less_busy(ticket, busy)
                continue
            yield Queued(0, None)
            await self._until_back(ticket, looks, patience, failure)

    async def _until_back(self, ticket: Ticket, looks: int, patience: _Patience, why: _Away) -> None:
        """Raises Interrupted, TicketCancelled; Unavailable: it was away for too long."""
        log.info("%s is away: %s", self._shown, why)
        if self._lifecycle.is_stopping:
            raise Interrupted("the bot is being stopped, and the service is away")
        self._waiting.add(ticket)
        try:
            await ticket.wait(self._look(looks), patience.left_s)
        except TimeoutError:
            raise Unavailable(f"the service was away for {self._patience_s:.0f} s: {why}") from why
        finally:
            self._waiting.discard(ticket)

    async def _look(self, looks: int) -> None:
        """Returns when the service was found since the look of that number; one of those who wait looks for all."""
        async with self._looking:
            if looks == self._looks:
                await asyncio.sleep(_POLL_S / 5)
                await self._until_ready(patient=True)

    async def _count(self, ticket: Ticket, messages: Sequence[Message]) -> int:
        reply = await ticket.wait(self._json("POST", "/tokenize", json={"messages": write_messages(messages)}))
        try:
            return int(reply["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("the service did not count the tokens") from error

    async def _caption(self, ticket: Ticket, request: CaptionRequest) -> Caption:
        form = aiohttp.FormData({"prompt": request.prompt, "user": request.owner})
        form.add_field("partyline", json.dumps(write_person(request)))
        form.add_field("image", request.image, filename="image", content_type="application/octet-stream")
        watch = asyncio.ensure_future(self._watch())
        try:
            reply = await ticket.wait(self._json("POST", "/v1/captions", data=form))
        finally:
            watch.cancel()
        try:
            return Caption(str(reply["text"]), Timings(**reply["timings"]))
        except (KeyError, TypeError) as error:
            raise Unavailable("the service sent no caption") from error

    async def _watch(self) -> None:
        """Hears whether a picture waits for what looks at it, for as long as one is looked at."""
        while True:
            await asyncio.sleep(_POLL_S)
            if self._clock() - self._asked_at >= _POLL_S:  # one of those who wait asks for all
                with suppress(_Away, Unavailable):
                    await self._readiness()

    async def _events(self, request: ChatRequest, ticket: Ticket) -> AsyncGenerator[Event, None]:
        """Raises InferenceError, _Away."""
        reader = ChunkReader()
        body = write_request(request, self._info.name)
        async with self._asking("POST", "/v1/chat/completions", ticket.wait, json=body) as response:
            while (line := await _spoken(ticket.wait(response.content.readline()))) and reader.finished is None:
                if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                    continue
                try:
                    events = reader.take(json.loads(line[5:]))
                except Interrupted as error:
                    raise _Away(error.why) from error
                except (KeyError, TypeError, ValueError) as error:
                    raise Unavailable(f"the service sent what is no event: {error!r}") from error
                for event in events:
                    yield event
        if reader.finished is None:
            raise _Lost("the service ended the stream before the answer")
        yield reader.finished

    @asynccontextmanager
    async def _asking(
        self, method: str, path: str, wait: Callable[[Awaitable[Any]], Awaitable[Any]], **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A reply with status 200. Raises InferenceError, _Away."""
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
            reply = await _spoken(response.json())
        if isinstance(reply, dict) and "error" in reply:
            raise _told(reply["error"])  # it came behind a heartbeat, and the status with that
        return reply

    async def _until_ready(self, *, patient: bool) -> None:
        """Returns when the service answers, knowing its model.

        Raises:
            Unavailable: what waiting cannot mend.
            _Away: nothing answers there, unless this is patient.
        """
        told = float("-inf")
        while True:
            try:
                state = await self._readiness()
                if state is None:
                    self._info = read_info(await self._json("GET", "/v1/models"))
                    self._looks += 1
                    return
            except _Away as error:
                if not patient:
                    raise
                state = str(error)
            if self._clock() - told >= _ABSENCE_NEWS_S:
                told = self._clock()
                log.info("waiting for %s: %s", self._shown, state)
            await asyncio.sleep(_POLL_S)

    async def _readiness(self) -> str | None:
        """What the service says of itself; None when it answers. Raises Unavailable, _Away."""
        timeout = aiohttp.ClientTimeout(total=_PROBE_S)
        if self._http is None or self._http.closed:
            raise Unavailable("the connection to the service is closed")
        self._state, self._asked_at = {}, self._clock()
        try:
            response = await _spoken(self._http.get(f"{self._address}/readyz", timeout=timeout))
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise Unavailable(f"{self._shown} is no address of a service") from error
        async with response:
            state = self._state = await _state(response)
            if response.status == 200:
                return None
            status = state.get("status")
            if status not in _COMING and not _is_a_proxys(response, status):
                raise Unavailable(f"{self._shown} is not ready: {status or response.status}")
            return f"{status or response.status} {state.get('detail', '')} {state.get('seconds', 0)} s"


class _Patience:
    """How long one request still waits, and how often the service was lost under it."""

    def __init__(self, clock: Callable[[], float], patience_s: float) -> None:
        self._clock = clock
        self._until = clock() + patience_s
        self.was_needed = False
        self.losses = 0

    @property
    def left_s(self) -> float:
        return max(0.0, self._until - self._clock())

    def lose(self, why: _Away) -> None:
        """Raises Unavailable: it was too often."""
        self.was_needed = True
        self.losses += isinstance(why, _Lost)
        if self.losses >= _LOSSES:
            raise Unavailable(f"the service went away {self.losses} times under the request: {why}") from why

    async def until_less_busy(self, ticket: Ticket, busy: Busy) -> None:
        """When it comes back everybody asks at once: who waited for it waits for a place in its queue, too."""
        if not self.was_needed or not self.left_s:
            raise busy
        await ticket.wait(asyncio.sleep(min(busy.retry_in_s, _ASK_AGAIN_S)))


async def _as_it_is(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _spoken(call: Awaitable[T]) -> T:
    """Awaits what speaks to the service; no word of the library leaves this module.

    Raises:
        _Away: it was not reached; _Lost: it has hung up.
        Unavailable: it said what is no answer.
    """
    try:
        return await call
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise
    except aiohttp.ClientConnectorError as error:
        raise _Away(f"the service is not reached: {error}") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ServerTimeoutError, OSError) as error:
        raise _Lost(f"the service does not answer: {error!r}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise Unavailable(f"the service does not answer as one: {error!r}") from error


async def _failure(response: aiohttp.ClientResponse) -> Exception:
    if response.status == 401:
        return Unavailable("the service refuses the key: set PARTYLINE_INFERENCE__API_KEY to its key")
    body = await _state(response)
    details = body.get("error", f"status {response.status}")
    code = details.get("code") if isinstance(details, dict) else None
    if _is_a_proxys(response, code) or code in _COMING or code == "model_not_found":
        # Another model: the service was started again, and says its name to whoever looks.
        return _Away(f"the service says: {code or response.status}")
    return _told(details)


def _told(details: object) -> Exception:
    error = read_error(details)
    return _Away(error.why) if isinstance(error, Interrupted) else error


def _is_a_proxys(response: aiohttp.ClientResponse, word: object) -> bool:
    """Whether it is what proxies say of a service that is not there; its own failures have a word."""
    return response.status in _NOT_THERE and not word


async def _state(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json()
    except (aiohttp.ClientError, OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
