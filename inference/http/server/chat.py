"""`/v1/chat/completions`: one answer, streamed as server-sent events or whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from aiohttp import web

from inference.api import (
    ChatRequest,
    Event,
    Finished,
    Inference,
    InferenceError,
    ModelInfo,
    Queued,
    Reclassified,
    Text,
    Thinking,
    Unavailable,
)
from inference.http.server.clients import Client
from inference.http.server.metrics import Metrics
from inference.http.wire import (
    WrongRequest,
    read_request,
    write_error,
    write_event,
    write_finish,
    write_totals,
    write_usage,
)

log = logging.getLogger(__name__)

_BEAT_S = 15.0
_SHOWN = 200
"""Characters of a client's own words in an error."""
# Accepted besides the model's own name, for clients that must send one.
_ANY_MODEL = frozenset({"", "default", "partyline"})


class UnknownModel(web.HTTPNotFound):
    """There is one model here, and the client wants another."""


def check_model(wanted: str, info: ModelInfo) -> None:
    """Raises UnknownModel."""
    if wanted != info.name:
        raise UnknownModel(text=f"there is no model {wanted[:_SHOWN]!r} here, only {info.name!r}")


async def complete(
    request: web.Request,
    body: Any,
    inference: Inference,
    metrics: Metrics,
    answer_id: str,
    write_s: float,
    client: Client,
) -> web.StreamResponse:
    """Raises InferenceError, WrongRequest or HTTPNotFound before anything is sent.

    Args:
        client: who asks.
        write_s: a client that takes nothing of a stream for so many seconds has gone.
    """
    asked = read_request(body, answer_id, client.owner)
    wanted = body.get("model") or ""
    if not isinstance(wanted, str):
        raise WrongRequest("model", "model must be a name")
    if wanted not in _ANY_MODEL:
        check_model(wanted, inference.info)
    head = {"id": answer_id, "created": int(time.time()), "model": inference.info.name}
    if not isinstance(body.get("stream"), bool | None):  # "false" is true where nobody looks
        raise WrongRequest("stream", "stream must be true or false")
    if not body.get("stream"):
        return web.json_response(await _whole(inference, asked, metrics, head))
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise WrongRequest("stream_options", "stream_options must be an object")
    async with aclosing(inference.stream(asked)) as events:
        stream = _Stream(request, head | {"object": "chat.completion.chunk"}, options, write_s)
        return await stream.send(events, metrics)


async def _whole(inference: Inference, asked: ChatRequest, metrics: Metrics, head: dict[str, Any]) -> dict[str, Any]:
    said: dict[type, list[str]] = {Text: [], Thinking: []}
    async with aclosing(inference.stream(asked)) as events:
        async for event in events:
            if isinstance(event, Text | Thinking):
                said[type(event)].append(event.text)
            elif isinstance(event, Reclassified):
                said[Thinking] += said[Text]
                said[Text] = []
            elif isinstance(event, Finished):
                metrics.answered(event)
                message = {"role": "assistant", "content": "".join(said[Text])}
                if said[Thinking]:
                    message["reasoning_content"] = "".join(said[Thinking])
                choice = {"index": 0, "message": message, "finish_reason": write_finish(event.reason)}
                return head | {
                    "object": "chat.completion",
                    "choices": [choice],
                    "usage": write_usage(event.usage),
                    "timings": asdict(event.timings),
                }
    raise Unavailable("a stream ended without Finished")


class _Stream:
    """One answer as server-sent events. What is refused soon gets a status of its own: the first event decides, or the
    first heartbeat.
    """

    def __init__(self, request: web.Request, head: dict[str, Any], options: dict[str, Any], write_s: float) -> None:
        self._request = request
        self._write_s = write_s
        self._head = head
        self._wants_usage = options.get("include_usage") is True
        self._wants_queue = options.get("include_queue") is True
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        self._response = web.StreamResponse(headers=headers)
        self._beginning = asyncio.Lock()

    async def send(self, events: AsyncGenerator[Event, None], metrics: Metrics) -> web.StreamResponse:
        """Raises what the events raise, as long as nothing was sent."""
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat())
            refusal = await self._send(events, metrics)
            beat.cancel()
        if refusal is not None:
            raise refusal
        return self._response

    async def _beat(self) -> None:
        """Neither a client nor a proxy takes a long wait or a long prompt for a dead connection."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while True:
                await asyncio.sleep(_BEAT_S)
                await self._begin()
                await self._write(b": still here\n\n")

    async def _begin(self) -> None:
        """Sends the head, if that was not done."""
        async with self._beginning:
            if not self._response.prepared:
                await self._response.prepare(self._request)
                role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                await self._chunk({"choices": [role]})

    async def _has_begun(self) -> bool:
        async with self._beginning:
            return self._response.prepared

    async def _send(self, events: AsyncGenerator[Event, None], metrics: Metrics) -> Exception | None:
        """Returns why nothing was sent."""
        try:
            async for event in events:
                await self._begin()
                await self._event(event, metrics)
            await self._write(b"data: [DONE]\n\n")
        except InferenceError as error:
            if not await self._has_begun():
                return error
            log.info("%s: %s", self._head["id"], error)
            await self._fail(error)
        except (ConnectionError, TimeoutError):
            # The client has gone or reads no more; leaving closes the generator and frees the slot.
            log.debug("%s: the client has gone", self._head["id"])
            if self._request.transport is not None:
                self._request.transport.abort()
        except Exception as error:
            if not await self._has_begun():
                return error
            # The edge where a defect becomes a sentence: the status has been sent, so it is the stream that says it.
            log.exception("%s failed", self._head["id"])
            await self._fail(Unavailable("a defect"))
        return None

    async def _fail(self, error: InferenceError) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._data({"error": write_error(error)[1]})

    async def _event(self, event: Event, metrics: Metrics) -> None:
        if isinstance(event, Queued) and not self._wants_queue:
            await self._write(f": waiting, place {event.position}\n\n".encode())
            return
        if isinstance(event, Reclassified) and not self._wants_queue:
            await self._write(b": the content until here was reasoning\n\n")
            return
        await self._chunk(write_event(event))
        if isinstance(event, Finished):
            metrics.answered(event)
            if self._wants_usage:
                await self._chunk(write_totals(event))

    async def _chunk(self, values: dict[str, Any]) -> None:
        await self._data(self._head | values)

    async def _data(self, values: dict[str, Any]) -> None:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        await self._write(f"data: {text}\n\n".encode("utf-8", "replace"))

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(self._write_s):
            await self._response.write(data)
