"""The library's way to a Bot API server: quicker, and for servers that tell errors in the body alone."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import httpx
from telegram.request import HTTPXRequest, RequestData

from adapters.delivery.permitted import Permitted, at_once

if TYPE_CHECKING:
    from adapters.telegram.client.aiohttp_requests import QuickRequests

_POOL_S, _CONNECT_S, _READ_S, _WRITE_S, _UPLOAD_S = 5.0, 10.0, 30.0, 20.0, 50.0
"""Below the minute after which the delivery gives a call up."""
_PROXIES = {"http", "https", "all"}


class BotApiRequest(HTTPXRequest):
    """Takes `ok` and `error_code` for what a status of 200 leaves open.

    Args:
        permitted: waited for before each request.
    """

    def __init__(self, connections: int, permitted: Permitted = at_once) -> None:
        super().__init__(
            connection_pool_size=connections,
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            write_timeout=_WRITE_S,
            media_write_timeout=_UPLOAD_S,
            pool_timeout=_POOL_S,
        )
        self._connections = connections
        self._permitted = permitted
        self._quick: QuickRequests | None = None
        self.has_begun = asyncio.Event()
        """The first request was begun."""

    async def hasten(self) -> None:
        """Take the quicker library from now on for all requests but uploads.

        No start waits for its import. Proxies of the environment are left to httpx, which knows all kinds of them.
        """
        if self._quick is None and not _PROXIES & getproxies().keys():
            make = await asyncio.to_thread(_imported)
            tls = await asyncio.to_thread(httpx.create_ssl_context)  # with the roots that httpx trusts
            self._quick = make(self._connections, tls)

    async def shutdown(self) -> None:
        if self._quick is not None:
            quick, self._quick = self._quick, None
            await quick.close()
        await super().shutdown()

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *timeouts: Any, **named: Any
    ) -> tuple[int, bytes]:
        await self._permitted()
        self.has_begun.set()
        if self._quick is None or (request_data is not None and request_data.contains_files):
            code, payload = await super().do_request(url, method, request_data, *timeouts, **named)
        else:
            body = b"" if request_data is None else request_data.url_encoded_parameters().encode()
            read_s = named.get("read_timeout")
            code, payload = await self._quick(method, url, body, read_s if isinstance(read_s, int | float) else None)
        return (told_code(payload) if code == HTTPStatus.OK else code), payload


def _imported() -> Callable[[int, ssl.SSLContext], QuickRequests]:
    from adapters.telegram.client.aiohttp_requests import QuickRequests, Timeouts

    timeouts = Timeouts(pool_s=_POOL_S, connect_s=_CONNECT_S, read_s=_READ_S, write_s=_WRITE_S)
    return lambda connections, tls: QuickRequests(connections, timeouts, tls)


def told_code(payload: bytes) -> int:
    """The status that the answer should have had."""
    if payload[:40].replace(b" ", b"").startswith(b'{"ok":true,"result":'):
        return HTTPStatus.OK
    try:
        answer = json.loads(payload)
    except ValueError:
        return HTTPStatus.OK  # the library has an error for what is no JSON
    if not isinstance(answer, dict):
        return HTTPStatus.BAD_GATEWAY
    if answer.get("ok", True) is not False:
        return HTTPStatus.OK if "result" in answer else HTTPStatus.BAD_GATEWAY
    told = answer.get("error_code")
    return told if isinstance(told, int) and told >= HTTPStatus.MULTIPLE_CHOICES else HTTPStatus.BAD_REQUEST
