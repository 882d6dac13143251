"""One OpenAI-compatible server by the `openai` client, and what each of its failures means for a request."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from inference.api import Busy, Filtered, InferenceError, Message, OutOfMemory, Unavailable
from inference.checkpoints.references import without_user
from inference.engines.openai.refused_fields import UnsupportedRequest
from inference.engines.openai.wire import Dialect, too_long, turns
from inference.untrusted.hosts import is_loopback

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


class ServerAway(Unavailable):
    """The server is not there yet: it `loads` its model, or nothing listens at its address."""

    def __init__(self, why: str, *, loads: bool) -> None:
        super().__init__(why)
        self.loads = loads


class ServerLost(ServerAway):
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
    """Speaks to one address, which is told without its user and password.

    Every call raises Elsewhere, Refusal, TooLong, Filtered or Unavailable, and nothing else.
    """

    def __init__(self, address: str, options: ServerOptions) -> None:
        self.address = without_user(address)
        self._base = address
        self.heard = 0
        """Parts of streams that have come, heartbeats and comments among them."""
        self._heard_at = -math.inf
        self._options = options
        self._library: Any = None
        self._client: Any = None

    def connect(self) -> None:
        """Makes the client, without a connection yet. Blocks: it imports the library and reads certificates."""
        # The library takes httpx as it finds it, half imported by another thread, too. To import it waits for that.
        with suppress(ModuleNotFoundError):
            import_module("httpx")
        self._library = import_module("openai")
        timeout = self._library.Timeout(self._options.silence_s, connect=_CONNECT_S)
        own = is_loopback(urlsplit(self._base).hostname or "")
        # A proxy of the environment is the way out of this machine, and not to its own servers.
        speaker = self._library.DefaultAsyncHttpxClient(trust_env=False) if own else None
        self._client = self._library.AsyncOpenAI(
            base_url=self._base,
            api_key=self._options.key or "none",
            timeout=timeout,
            max_retries=0,
            http_client=speaker,
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` says of the configured model, or of all when none is configured; never nothing."""
        wanted = self._options.model
        try:
            listed = await self._ask(lambda: self._client.get("/models", cast_to=object))
        except UnsupportedRequest:
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
        cls = self._library.AsyncStream[object]
        path = "/chat/completions"
        stream = await self._ask(
            lambda: self._client.post(path, cast_to=object, body=body, stream=True, stream_cls=cls)
        )
        stream.response.aiter_bytes = self._listening(stream.response.aiter_bytes)
        try:
            kind = stream.response.headers.get("content-type", "")
            if kind.startswith("application/json"):  # some servers know no streams
                yield await self._speak(self._whole(stream.response))
                return
            if not kind.startswith("text/event-stream"):
                raise Elsewhere(Unavailable(f"{self.address} answers with {kind or 'no content type'}, no stream"))
            while (chunk := await self._speak(anext(stream, None))) is not None:
                yield chunk
        finally:
            # Closing the connection is how a server learns that nobody wants the rest.
            await stream.close()

    async def _whole(self, response: Any) -> object:
        """The body as JSON. Raises what the library raises of a stream, and ValueError."""
        http = import_module("httpx2")  # by which the library speaks
        try:
            return cast(object, json.loads(await response.aread()))
        except http.TimeoutException as error:
            raise self._library.APITimeoutError(request=response.request) from error
        except http.RequestError as error:
            raise self._library.APIConnectionError(request=response.request) from error

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
            raise UnsupportedRequest(f"{self.address} has another /tokenize: {error!r}") from error

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        """These paths are beside the common protocol's `/v1`, not under it."""
        address = self._base.removesuffix("/v1") + path
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
                raise Elsewhere(
                    ServerAway(f"{self.address} cannot be reached in {_CONNECT_S:g} s", loads=False)
                ) from error
            silence = f"{self.address} has been silent for {self._options.silence_s:g} s"
            spoke_to_others = time.monotonic() - self._heard_at < self._options.silence_s
            raise Elsewhere(Unavailable(silence), alone=spoke_to_others) from error
        except library.APIConnectionError as error:
            why = f"{self.address} cannot be reached: {error.__cause__ or error}"
            is_away = type(error.__cause__).__name__ == "ConnectError"
            raise Elsewhere(ServerAway(why, loads=False) if is_away else ServerLost(why)) from error
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
            return Elsewhere(Busy(retry_after_s(error.response.headers)))
        details = _details(error)
        if (long := too_long(details, self._options.context_tokens)) is not None:
            return long
        if error.status_code in (401, 403):
            return Elsewhere(Unavailable(f"{self.address} refuses the key: set PARTYLINE_INFERENCE__API_KEY"))
        if details.get("code") == "content_filter":
            return Filtered(f"{self.address} refuses the request by its filter")
        message = str(details.get("message") or details.get("detail") or f"status {error.status_code}")[:300]
        if details.get("code") == "out_of_memory":
            return OutOfMemory(f"{self.address}: {message}")
        if error.status_code in _REFUSED:
            return UnsupportedRequest(message, details)
        if error.status_code == _LOADING and "loading" in message.lower():  # and not overloaded
            return Elsewhere(ServerAway(f"{self.address}: {message}", loads=True))
        return Elsewhere(Unavailable(f"{self.address}: {message}"))


def _details(error: Any) -> dict[str, Any]:
    return error.body if isinstance(error.body, dict) else {}


def retry_after_s(headers: Mapping[str, str]) -> float:
    """For how long a server wants to be left alone: `Retry-After` has seconds or a date (RFC 9110, 10.2.3).

    A date is compared with the server's own clock, where it tells the time.
    """
    value = headers.get("retry-after", "")
    try:
        wait_s = float(value)
    except ValueError:
        wait_s = _until(value, headers.get("date", ""))
    return min(_LONGEST_RETRY_S, max(1.0, wait_s)) if math.isfinite(wait_s) else _RETRY_LATER_S


def _until(date: str, now: str) -> float:
    """Seconds, NaN where it is no date."""
    try:
        until = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return math.nan
    try:
        return until - parsedate_to_datetime(now).timestamp()
    except ValueError:
        return until - time.time()
