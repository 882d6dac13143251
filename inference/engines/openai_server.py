"""One OpenAI-compatible server by the `openai` client, and what each of its failures means for a request."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from inference.api import Busy, InferenceError, Message, OutOfMemory, Unavailable
from inference.engines.openai_wire import Dialect, too_long, turns
from inference.engines.refusals import Refusal

T = TypeVar("T")
_CONNECT_S = 5.0
# In tokens, with a line's end: a mark of reasoning that is no single token.
_LONGEST_MARK = 8
_RETRY_LATER_S = 5.0
_LONGEST_RETRY_S = 3600.0
# A request that the server will not take in this form; every other failure may be the server's own.
_REFUSED = frozenset({400, 404, 405, 413, 415, 422})
# As llama-server says "Loading model"; vLLM does not listen before it has loaded.
_LOADING = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How servers are asked.

    Args:
        key: sent as the bearer token; many local servers want none.
        model: the name of the model at the servers; empty: the first that they list.
        slots: requests at one server at once.
        context_tokens: prompt and answer of one request, where a server does not say what it allows.
        silence_s: seconds without a word from a server, after which it counts as failed.
        patient: a start waits for a server that does not listen yet, for ever; for one that loads it always does.
    """

    key: str = field(default="", repr=False)
    model: str = ""
    slots: int = 8
    context_tokens: int = 4096
    silence_s: float = 60.0
    patient: bool = False


class Away(Unavailable):
    """The server is not there yet: it `loads` its model, or nothing listens at its address."""

    def __init__(self, why: str, *, loads: bool) -> None:
        super().__init__(why)
        self.loads = loads


class Lost(Away):
    """The server has hung up under the request. It may have died, also of that request."""

    def __init__(self, why: str) -> None:
        super().__init__(why, loads=False)


class Elsewhere(Exception):
    """This server cannot answer, another one might; `error` is what to say when there is none.

    `alone`: it has spoken to others meanwhile, so that nothing is wrong with it.
    """

    def __init__(self, error: InferenceError, *, alone: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.alone = alone


class Server:
    """Speaks to one address. Every call raises Elsewhere, Refusal, TooLong or Unavailable, and nothing else."""

    def __init__(self, address: str, options: ServerOptions) -> None:
        self.address = address
        self.heard = 0
        """Parts of streams that have come, heartbeats and comments among them."""
        self._heard_at = -math.inf
        self._options = options
        self._library: Any = None
        self._client: Any = None

    def connect(self) -> None:
        """Makes the client, without a connection yet. Blocks: it imports the library and reads certificates."""
        self._library = import_module("openai")
        timeout = self._library.Timeout(self._options.silence_s, connect=_CONNECT_S)
        self._client = self._library.AsyncOpenAI(
            base_url=self.address, api_key=self._options.key or "none", timeout=timeout, max_retries=0
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` says of the configured model, or of all when none is configured; never nothing."""
        wanted = self._options.model
        try:
            listed = await self._ask(lambda: self._client.get("/models", cast_to=object))
        except Refusal:
            listed = None  # some have no such list
        entries = listed.get("data") if isinstance(listed, dict) else None
        models = [entry for entry in entries or [] if isinstance(entry, dict) and entry.get("id")]
        if wanted:
            return [model for model in models if model["id"] == wanted] or [{"id": wanted}]
        if not models:
            why = f"{self.address} lists no models: is it an OpenAI-compatible address, ending in /v1?"
            raise Elsewhere(Unavailable(why))
        return models

    async def chunks(self, body: dict[str, Any]) -> AsyncGenerator[object, None]:
        """The events of one streamed answer, as whatever JSON they are; closing this closes the connection."""
        kind = self._library.AsyncStream[object]
        path = "/chat/completions"
        stream = await self._ask(
            lambda: self._client.post(path, cast_to=object, body=body, stream=True, stream_cls=kind)
        )
        stream.response.aiter_bytes = self._listening(stream.response.aiter_bytes)
        try:
            if not (kind := stream.response.headers.get("content-type", "")).startswith("text/event-stream"):
                raise Elsewhere(Unavailable(f"{self.address} answers with {kind or 'no content type'}, no stream"))
            while (chunk := await self._speak(anext(stream, None))) is not None:
                yield chunk
        finally:
            # Closing the connection is how a server learns that nobody wants the rest.
            await stream.close()

    def _listening(self, read: Callable[[], AsyncIterator[bytes]]) -> Callable[[], AsyncIterator[bytes]]:
        """The same, and counts: comments are bytes that the library's events do not show."""

        async def counted() -> AsyncIterator[bytes]:
            async for data in read():
                self.heard += 1
                self._heard_at = time.monotonic()
                yield data

        return counted

    async def tokenize(self, dialect: Dialect, model: str, messages: Sequence[Message]) -> tuple[int, str]:
        """The length of the prompt in tokens, and how it ends; empty where the server does not show that."""
        try:
            if dialect.counting == "template":
                prompt = str((await self._post("/apply-template", {"messages": turns(messages)}))["prompt"])
                body = {"content": prompt, "add_special": True, "parse_special": True}
                return len((await self._post("/tokenize", body))["tokens"]), prompt
            body = {"model": model, "messages": turns(messages), "return_token_strs": True}
            reply = await self._post("/tokenize", body)
            ending = "".join(str(token) for token in (reply.get("token_strs") or [])[-_LONGEST_MARK:])
            # As byte-level tokenizers spell the end of a line.
            return int(reply["count"]), ending.replace("Ċ", "\n")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refusal(f"{self.address} has another /tokenize: {error!r}") from error

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        """These paths are beside the common protocol's `/v1`, not under it."""
        address = self.address.removesuffix("/v1") + path
        return await self._ask(lambda: self._client.post(address, cast_to=object, body=body))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """A connection that was kept may have been closed by the server meanwhile: then once more, on a new one."""
        try:
            return await self._speak(call())
        except Elsewhere as elsewhere:
            failure = elsewhere.__cause__.__cause__ if elsewhere.__cause__ else None
            if type(failure).__name__ != "RemoteProtocolError":
                raise
        return await self._speak(call())

    async def _speak(self, call: Awaitable[T]) -> T:
        library = self._library
        try:
            return await call
        except library.APIStatusError as error:
            raise self._status_failure(error) from error
        except library.APITimeoutError as error:
            if type(error.__cause__).__name__ == "ConnectTimeout":
                raise Elsewhere(Away(f"{self.address} cannot be reached in {_CONNECT_S:g} s", loads=False)) from error
            silence = f"{self.address} has been silent for {self._options.silence_s:g} s"
            spoke_to_others = time.monotonic() - self._heard_at < self._options.silence_s
            raise Elsewhere(Unavailable(silence), alone=spoke_to_others) from error
        except library.APIConnectionError as error:
            why = f"{self.address} cannot be reached: {error.__cause__ or error}"
            is_away = type(error.__cause__).__name__ == "ConnectError"
            raise Elsewhere(Away(why, loads=False) if is_away else Lost(why)) from error
        except library.APIError as error:
            if (long := too_long(_details(error), self._options.context_tokens)) is not None:
                raise long from error
            raise Elsewhere(Unavailable(f"{self.address}: {error.message}")) from error
        except ValueError as error:  # no JSON, or no UTF-8
            raise Elsewhere(Unavailable(f"{self.address} sends what is no JSON: {error}")) from error
        except RuntimeError as error:  # the client was closed under the request
            raise Unavailable("the engine is closed") from error

    def _status_failure(self, error: Any) -> Exception:
        if error.status_code == 429:
            return Elsewhere(Busy(_retry_after(error.response.headers.get("retry-after", ""))))
        details = _details(error)
        if (long := too_long(details, self._options.context_tokens)) is not None:
            return long
        if error.status_code in (401, 403):
            return Elsewhere(Unavailable(f"{self.address} refuses the key: set PARTYLINE_INFERENCE__API_KEY"))
        message = str(details.get("message") or details.get("detail") or f"status {error.status_code}")[:300]
        if details.get("code") == "out_of_memory":
            return OutOfMemory(f"{self.address}: {message}")
        if error.status_code in _REFUSED:
            return Refusal(message, details)
        if error.status_code == _LOADING and "loading" in message.lower():  # and not overloaded
            return Elsewhere(Away(f"{self.address}: {message}", loads=True))
        return Elsewhere(Unavailable(f"{self.address}: {message}"))


def _details(error: Any) -> dict[str, Any]:
    return error.body if isinstance(error.body, dict) else {}


def _retry_after(value: str) -> float:
    try:
        return min(_LONGEST_RETRY_S, max(1.0, float(value)))
    except ValueError:
        return _RETRY_LATER_S
