"""Files of a platform, fetched from the platform's own hosts alone: a redirect to any other address is not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from yarl import URL

_MAX_REDIRECTS = 3
_PIECE_BYTES = 2**16
_PAUSES_S = (0.3, 1.0, 3.0)
_TOO_MANY_REQUESTS = 429


class DownloadFailed(OSError):
    """The address gives no file; the message does not hold it, because addresses may hold a token."""


class _NotNow(DownloadFailed):
    """The server has trouble of its own."""


async def download(address: URL, limit: int, serves: Callable[[URL], bool]) -> bytes:
    """Return the bytes behind an address. A connection or server that fails is tried again, a few times.

    Args:
        limit: in bytes; more is not read.
        serves: whether a file may be fetched from an address. It is asked about redirects, too.

    Raises:
        DownloadFailed: it is too long, no file, or not at an address that `serves` allows.
        aiohttp.ClientError: the connection failed each time.
    """
    for pause_s in _PAUSES_S:
        try:
            return await _downloaded(address, limit, serves)
        except (aiohttp.ClientError, _NotNow):
            await asyncio.sleep(pause_s)
    return await _downloaded(address, limit, serves)


async def _downloaded(address: URL, limit: int, serves: Callable[[URL], bool]) -> bytes:
    async with aiohttp.ClientSession(trust_env=True) as session:
        for _ in range(_MAX_REDIRECTS + 1):
            if not serves(address):
                raise DownloadFailed("it is not on the platform's hosts")
            async with session.get(address, allow_redirects=False) as response:
                if 300 <= response.status < 400:
                    address = _target(response)
                    continue
                if response.status >= 500 or response.status == _TOO_MANY_REQUESTS:
                    raise _NotNow(f"status {response.status}")
                if response.status != 200:
                    raise DownloadFailed(f"status {response.status}")
                return await _read(response, limit)
    raise DownloadFailed("too many redirects")


def _target(response: aiohttp.ClientResponse) -> URL:
    try:
        return response.url.join(URL(response.headers["Location"]))
    except (KeyError, ValueError):
        raise DownloadFailed(f"status {response.status} without an address") from None


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        data += piece
        if len(data) > limit:
            raise DownloadFailed(f"more than {limit} bytes came")
    return bytes(data)
