"""REST calls through discord.py's own client, at our pace: the outbox hears of a penalty and of a fault at once.

The library would sleep inside the call, first when a bucket is empty and then after every 429 and 5xx, and send what
has become old meanwhile. So calls from here skip its buckets (`HTTPClient.get_ratelimit`), and a trace turns 429 and
5xx into exceptions before the library sees them. Its other calls (login, commands) keep the library's patience.
"""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import aiohttp
import discord
from discord.http import HTTPClient, Ratelimit, Route

from adapters.delivery.channel import (
    ChannelError,
    Forbidden,
    Later,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)
from adapters.delivery.permitted import Permitted, at_once

UNKNOWN_CHANNEL, UNKNOWN_MESSAGE = 10003, 10008
NO_HISTORY = 160002
"""A reply needs the permission to read the history."""
ARCHIVED = 50083
TOO_MANY_FOLLOW_UPS = 40094
"""Of an interaction where a person took the bot along; there may be five."""
_TOKEN_IS_OVER = (10015, 10062, 50027)
_EDITED_TOO_OFTEN = 30046
_OLD_MESSAGE_PAUSE_S = 60.0
_ours: ContextVar[bool] = ContextVar("ours", default=False)


class Expired(ChannelError):
    """The interaction's token is over, after 15 minutes."""


class RestError(Rejected):
    """Discord said no, with the `code` of its JSON errors."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code = code


def tracing() -> aiohttp.TraceConfig:
    """For `discord.Client(http_trace=…)`."""
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_surface)
    return trace


def own_pace(http: HTTPClient) -> None:
    """Lets calls of ours pass the library's buckets."""
    theirs = http.get_ratelimit
    http.get_ratelimit = lambda key: _Open(None) if _ours.get() else theirs(key)  # type: ignore[method-assign]


class _Open(Ratelimit):
    """A bucket that holds nobody up."""

    async def acquire(self) -> None:
        return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def update(self, response: aiohttp.ClientResponse, *, use_clock: bool = False) -> None:
        return

    def is_inactive(self) -> bool:
        return True


async def _surface(session: aiohttp.ClientSession, context: object, params: aiohttp.TraceRequestEndParams) -> None:
    response = params.response
    if not _ours.get() or (response.status != 429 and response.status < 500):
        return
    body = await response.read()
    if response.status == 429:
        raise _penalty(body, response.headers.get("Retry-After", "1"))
    # The server may have done it before it failed; only its "unavailable" comes before the work.
    fault = Unsent if response.status == 503 or response.method == "PATCH" else UnknownOutcome
    raise fault(f"HTTP {response.status}")


class _Everywhere(RetryAfter):
    """A penalty for all calls of the account."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s, of_chat=False)


def _penalty(body: bytes, header: str) -> RetryAfter | Later:
    try:
        said = json.loads(body)
        if said.get("code") == _EDITED_TOO_OFTEN:
            return Later(max(float(said.get("retry_after", 0)), _OLD_MESSAGE_PAUSE_S))
        return (_Everywhere if said.get("global") else RetryAfter)(float(said["retry_after"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return RetryAfter(float(header) if header.replace(".", "", 1).isdigit() else 1.0)


class RestClient:
    """Every call of one bot account that may have to wait.

    Args:
        client: the library's, another one after a reconnect.
        permitted: waited for before each call.
    """

    def __init__(self, client: discord.Client | None = None, permitted: Permitted = at_once) -> None:
        self.client = client
        self._permitted = permitted
        self._silent_until = 0.0

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        file: tuple[str, bytes] | None = None,
        query: dict[str, Any] | None = None,
        **ids: int | str,
    ) -> Any:
        """One call; returns what Discord answered.

        Raises:
            ChannelError: any of them, and `Expired` or `RestError`.
        """
        await self._permitted()
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            raise _Everywhere(self._silent_until - loop.time())
        if self.client is None or self.client.http.token is None:
            raise Unsent("not logged in")
        token = _ours.set(True)
        try:
            return await self.client.http.request(Route(method, path, metadata=None, **ids), **_sent(body, file, query))
        except _Everywhere as penalty:
            self._silent_until = loop.time() + penalty.retry_after_s
            raise
        except discord.HTTPException as error:
            raise _meaning(error) from None
        except discord.RateLimited as penalty:
            raise RetryAfter(penalty.retry_after) from None
        except aiohttp.ClientConnectorError as error:
            raise Unsent(type(error).__name__) from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnknownOutcome(type(error).__name__) from None
        except RuntimeError as error:
            # The library's session is closed, and the next client is on its way.
            raise Unsent(type(error).__name__) from error
        finally:
            _ours.reset(token)


def _sent(body: dict[str, Any] | None, file: tuple[str, bytes] | None, query: dict[str, Any] | None) -> dict[str, Any]:
    if file is not None:
        name, data = file
        part = {"name": "files[0]", "value": data, "filename": name, "content_type": "application/octet-stream"}
        kept = (body or {}).get("attachments", [])
        payload = {**(body or {}), "attachments": [*kept, {"id": 0, "filename": name}]}
        form = [{"name": "payload_json", "value": json.dumps(payload)}, part]
        return {"form": form} | ({"params": query} if query is not None else {})
    sent: dict[str, Any] = {}
    if body is not None:
        sent["json"] = body
    if query is not None:
        sent["params"] = query
    return sent


def _meaning(error: discord.HTTPException) -> ChannelError:
    """What Discord's refusal means for a message. Its words hold no token."""
    why = f"{error.text or 'HTTP ' + str(error.status)}"
    if error.code == UNKNOWN_MESSAGE:
        return MessageGone(why)
    if error.code in _TOKEN_IS_OVER:
        return Expired(why)
    if error.code == NO_HISTORY or error.code == ARCHIVED:
        return RestError(error.code, why)
    if error.status in (401, 403) or error.code == UNKNOWN_CHANNEL:
        return Forbidden(f"{why} ({error.code})")
    if error.status == 404:
        return MessageGone(why)
    if error.status == 429:
        return RetryAfter(1.0)
    return UnknownOutcome(why) if error.status >= 500 else RestError(error.code, why)
