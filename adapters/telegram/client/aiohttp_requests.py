"""Requests to a Bot API server by aiohttp, at less than half of the processor time that httpx takes for one.

Imported when the bot polls: the library takes 0.2 s to import.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace

import aiohttp
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest

from adapters.telegram.client.errors import NotConnected

_KEEPALIVE_S = 30.0
"""An idle connection is there that long for the next first words, which otherwise wait for a new one, TLS and all."""
_HEADERS = {"User-Agent": BaseRequest.USER_AGENT, "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds for a free connection, a new connection, each part of the response, and the sending of a request."""

    pool_s: float
    connect_s: float
    read_s: float
    write_s: float

    def bounds(self) -> aiohttp.ClientTimeout:
        connect_s = self.pool_s + self.connect_s
        return aiohttp.ClientTimeout(
            total=connect_s + self.write_s + self.read_s,
            connect=connect_s,
            sock_connect=self.connect_s,
            sock_read=self.read_s,
        )


class QuickRequests:
    """Requests that upload no file. Follows no redirect and keeps no cookie. Create it in a running event loop."""

    def __init__(self, connections: int, timeouts: Timeouts, tls: ssl.SSLContext) -> None:
        self._timeouts, self._usual = timeouts, timeouts.bounds()
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEPALIVE_S, ssl=tls)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS, timeout=self._usual
        )

    async def __call__(self, method: str, url: str, body: bytes, read_s: float | None = None) -> tuple[int, bytes]:
        """Return the status and the body of the response.

        Args:
            read_s: how long the server may be silent; None: as usual.

        Raises:
            NotConnected: the request was not sent.
            TimedOut, NetworkError: it may have been. No error holds the address, which holds the token.
        """
        bounds = self._usual if read_s is None else replace(self._timeouts, read_s=read_s).bounds()
        try:
            async with self._session.request(method, url, data=body, timeout=bounds, allow_redirects=False) as response:
                return response.status, await response.read()
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise NotConnected(type(error).__name__) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnected(f"{type(error).__name__}: {error}") from error
        except TimeoutError as error:
            raise TimedOut from error
        except aiohttp.ClientResponseError as error:  # whose words hold the address
            raise NetworkError(f"{type(error).__name__}: {error.message}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._session.close()
