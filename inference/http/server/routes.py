"""The routes, and what is true of every request: its key, its size, its time, and the shape of its failure."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from inference.api import InferenceError, Interrupted, Message
from inference.http.server import captions, chat, slow_replies
from inference.http.server.clients import Client, Clients
from inference.http.server.metrics import CONTENT_TYPE, Metrics
from inference.http.wire import RESTART_RETRY_S, WrongRequest, read_messages, write_error, write_info, wrong_request
from inference.serving.service import LocalInference
from inference.untrusted.bounded_json import TooManyValues, loads
from inference.untrusted.connections import check_body, listening
from inference.untrusted.hosts import host_allowed

log = logging.getLogger(__name__)

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# These tell nothing of anybody, and what asks them seldom has a key.
_OPEN = frozenset({"/healthz", "/readyz"})
# Without a key only under a name of ours, so that no site in a browser of this network reads the load.
_OPEN_HERE = frozenset({"/metrics"})
# Of a request's JSON; a conversation of as many messages as there may be has 20,000.
_MAX_VALUES = 50_000
_CLIENT = web.RequestKey("client", Client)
_CLIENT_GONE = 499  # nginx's number; nobody is there to see it but the metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBounds:
    """Where it listens and what it takes. Sizes in bytes, times in seconds.

    Args:
        port: 0 means any free port.
        request_bytes: the largest request body; a picture of 20 MB has 27 in base64.
        hostnames: names under which `/metrics` is answered without a key, beside loopback's and addresses.
        read_s: within this time a request's body must have arrived, and a client must have taken what is sent to it.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    request_bytes: int = 32 * 2**20
    read_s: float = 30.0
    hostnames: Collection[str] = ()


class InferenceServer:
    """Serves one `LocalInference`, which somebody else starts and closes.

    Args:
        key: the one of Partyline's own bots, and of the operator.
        clients: those of other programs.
    """

    def __init__(
        self, inference: LocalInference, key: str, bounds: ServerBounds | None = None, clients: Sequence[Client] = ()
    ) -> None:
        self._inference = inference
        own = Client(name="partyline", key=key.encode(), names_users=True, is_bot=True)
        self._clients = Clients([own, *clients])
        self._bounds = bounds or ServerBounds()
        self._metrics = Metrics()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Yields the address ("http://127.0.0.1:8081"). Raises OSError when the port is taken."""
        app = web.Application(middlewares=[self._counted, self._answerable], client_max_size=self._bounds.request_bytes)
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.get("/metrics", self._figures),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{id:.+}", self._model),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/captions", self._caption),
                web.delete("/v1/captions", self._forget_captions),
                web.post("/tokenize", self._tokenize),
            ]
        )
        host = f"[{self._bounds.host}]" if ":" in self._bounds.host else self._bounds.host
        # A client that goes away cancels its handler, and with it the generation.
        async with listening(
            app, self._bounds.host, self._bounds.port, handler_cancellation=True, shutdown_timeout=1.0
        ) as port:
            yield f"http://{host}:{port}"

    @web.middleware
    async def _counted(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "other"
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            self._metrics.requests[path, _CLIENT_GONE] += 1
            raise
        self._metrics.requests[path, response.status] += 1
        return response

    @web.middleware
    async def _answerable(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        """Checks the key, and makes OpenAI's error of whatever goes wrong before an answer has begun."""
        try:
            if not self._is_open(request) and (refusal := self._refusal(request)) is not None:
                return refusal
            check_body(request, self._bounds.request_bytes)
            return await handler(request)
        except InferenceError as error:
            log.info("%s: %s", request.path, error)
            status, details = write_error(error)
            wait = details.get("retry_in_s")
            return failure(status, details, {} if wait is None else {"Retry-After": str(max(1, round(wait)))})
        except WrongRequest as error:
            return failure(400, wrong_request(error))
        except web.HTTPException as error:
            code = "model_not_found" if isinstance(error, chat.UnknownModel) else None
            return failure(error.status, _error(error.text or error.reason, "invalid_request_error", code))
        except TimeoutError:
            return failure(408, _error("the request took too long to arrive", "invalid_request_error", "timeout"))
        except Exception:
            # The edge where a defect becomes a sentence; the traceback goes to the log alone.
            log.exception("%s failed", request.path)
            return failure(500, _error("something went wrong on the server", "server_error", "internal"))

    def _is_open(self, request: web.Request) -> bool:
        if request.path in _OPEN:
            return True
        here = host_allowed(request.headers.get("Host", ""), self._bounds.host, self._bounds.hostnames)
        return request.path in _OPEN_HERE and here

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Raises Interrupted: the service is being stopped."""
        client = self._clients.of(request.headers.get("Authorization", ""))
        if client is None:
            details = _error("the key is missing or wrong", "invalid_request_error", "invalid_api_key")
            return failure(401, details, {"WWW-Authenticate": "Bearer"})
        request[_CLIENT] = client
        readiness = self._inference.readiness
        if readiness.state in ("draining", "stopped"):
            raise Interrupted(f"the service is {readiness.state}")
        # Without its engine the service still captions, and whoever asks for text waits for a new one or is told.
        if readiness.state not in ("ready", "restarting"):
            details = _error(f"the service is {readiness.state}", "server_error", readiness.state)
            return failure(503, details, {"Retry-After": f"{RESTART_RETRY_S:.0f}"})
        return None

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readiness(self, request: web.Request) -> web.Response:
        readiness = self._inference.readiness
        body = {
            "status": readiness.state,
            "detail": readiness.detail,
            "seconds": round(readiness.seconds, 1),
            "share": readiness.share,
            "pictures": "loading" if readiness.pictures else "",
        }
        return web.json_response(body, status=200 if readiness.state == "ready" else 503)

    async def _figures(self, request: web.Request) -> web.Response:
        text = self._metrics.text(self._inference)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [write_info(self._inference.info)]})

    async def _model(self, request: web.Request) -> web.Response:
        chat.check_model(request.match_info["id"], self._inference.info)
        return web.json_response(write_info(self._inference.info))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._json(request)
        return await chat.complete(
            request,
            body,
            self._inference,
            self._metrics,
            _new_id("chatcmpl"),
            self._bounds.read_s,
            request[_CLIENT],
        )

    async def _caption(self, request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(self._bounds.read_s):
            if request.content_type == "multipart/form-data":
                asked = await captions.read_form(request, _new_id("caption"), request[_CLIENT])
            else:
                body = await self._json(request)
                asked = await asyncio.to_thread(captions.read_json, body, _new_id("caption"), request[_CLIENT])
        return await self._replied(request, captions.caption(self._inference, asked))

    async def _forget_captions(self, request: web.Request) -> web.Response:
        if not request[_CLIENT].is_bot:
            raise web.HTTPForbidden(text="only a bot may drop captions")
        await self._inference.forget_captions()
        return web.json_response({})

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        """vLLM's reply to the same question, without the ids."""
        body = await self._json(request)
        messages = read_messages(body.get("messages") if isinstance(body, dict) else None)
        return await self._replied(request, self._counted_tokens(messages))

    async def _counted_tokens(self, messages: Sequence[Message]) -> dict[str, Any]:
        count = await self._inference.count_tokens(messages)
        return {"count": count, "max_model_len": self._inference.info.context_tokens, "tokens": []}

    async def _replied(self, request: web.Request, work: Coroutine[Any, Any, dict[str, Any]]) -> web.StreamResponse:
        """Only a bot knows how to read a failure behind a heartbeat; others wait for the status."""
        if request[_CLIENT].is_bot:
            return await slow_replies.reply(request, work, self._bounds.read_s)
        return web.json_response(await work)

    async def _json(self, request: web.Request) -> Any:
        async with asyncio.timeout(self._bounds.read_s):
            data = await request.read()
        parse = partial(loads, values=_MAX_VALUES)
        try:
            # A picture in base64 would hold up everybody's tokens while it is parsed.
            return parse(data) if len(data) < 2**16 else await asyncio.to_thread(parse, data)
        except TooManyValues as error:
            raise WrongRequest("", f"the body has {error}") from error
        except ValueError as error:
            raise WrongRequest("", "the body is not valid JSON") from error


def failure(status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": error}, status=status, headers=headers)


def _error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code}


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"
