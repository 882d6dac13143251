"""An OpenAI-compatible server that behaves as badly as a test asks it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class OpenAIServer:
    """`answer` handles the chat requests; the bodies that came are in `bodies`."""

    def __init__(self, answer: Handler, model: dict[str, Any] | None = None) -> None:
        self.answer = answer
        self.model = {"id": "some-model", "object": "model"} | (model or {})
        self.bodies: list[dict[str, Any]] = []
        self.listed = 0
        self.tokens: list[str] = []
        self.loads = -1
        """How many requests it still refuses because it loads its model, those for its models among them."""
        self.gone = asyncio.Event()
        """A client has left in the middle of an answer."""

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Yields the base address."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/tokenize", self._tokenize)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        self.listed += 1
        if self._still_loads():
            return web.json_response({"error": {"message": "Loading model"}}, status=503)
        return web.json_response({"object": "list", "data": [self.model]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        """As vLLM does it; `tokens` are the prompt's."""
        await request.read()
        if self._still_loads():
            return web.json_response({"error": {"message": "Loading model"}}, status=503)
        if not self.tokens:
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        return web.json_response({"count": len(self.tokens), "max_model_len": 2048, "token_strs": self.tokens})

    def _still_loads(self) -> bool:
        self.loads -= self.loads >= 0
        return self.loads >= 0

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        try:
            return await self.answer(request, body)
        except asyncio.CancelledError:
            self.gone.set()
            raise


def chunk(content: str = "", *, finish: str | None = None, **delta: str) -> str:
    """One event of a stream."""
    choice = {"index": 0, "delta": {"content": content} | delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


DONE = "data: [DONE]\n\n"


def streaming(
    *events: str | bytes,
    content_type: str = "text/event-stream",
    breaks: bool = False,
    hangs: bool = False,
    pause_s: float = 0.0,
) -> Handler:
    """Sends the events as they are; then ends well, breaks the connection, or says nothing for ever."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for event in events:
            await response.write(event.encode() if isinstance(event, str) else event)
            await asyncio.sleep(pause_s)
        if breaks and request.transport is not None:
            request.transport.abort()
        if hangs:
            await asyncio.Event().wait()
        return response

    return answer


def refusing(status: int, error: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": error or {"message": "no"}}, status=status, headers=headers)

    return answer


def whole(body: dict[str, Any]) -> Handler:
    """Answers with one JSON object, as if nobody had asked for a stream."""

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(body)

    return answer
