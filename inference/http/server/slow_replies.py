"""Replies in one piece that may take minutes, such as a caption that waits for its model to be loaded."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from aiohttp import web

from inference.api import InferenceError, Unavailable
from inference.http.wire import write_error

log = logging.getLogger(__name__)

BEAT_S = 15.0
"""Neither a client nor a proxy takes so long a silence for a dead connection."""


async def reply(request: web.Request, work: Awaitable[dict[str, Any]], write_s: float) -> web.StreamResponse:
    """The work's document as JSON. One that is late is preceded by a space every `BEAT_S`, which JSON allows.

    The status is sent with the first space. A failure behind it is `{"error": ...}` with status 200; a sooner one is
    raised.

    Args:
        write_s: a client that takes nothing for so many seconds has gone.
    """
    task = asyncio.ensure_future(work)
    response = web.StreamResponse(
        headers={"Content-Type": "application/json; charset=utf-8", "X-Accel-Buffering": "no"}
    )
    try:
        while not (await asyncio.wait([task], timeout=BEAT_S))[0]:
            await _write(request, response, b" ", write_s)
        if not response.prepared:
            return web.json_response(task.result())
        await _write(request, response, json.dumps(_document(request, task)).encode(), write_s)
    except (ConnectionError, TimeoutError):
        if not response.prepared:
            raise
        log.debug("%s: the client has gone", request.path)
        if request.transport is not None:
            request.transport.abort()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
    return response


async def _write(request: web.Request, response: web.StreamResponse, data: bytes, write_s: float) -> None:
    async with asyncio.timeout(write_s):
        if not response.prepared:
            await response.prepare(request)
        await response.write(data)


def _document(request: web.Request, task: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        return task.result()
    except InferenceError as error:
        log.info("%s: %s", request.path, error)
        return {"error": write_error(error)[1]}
    except Exception:
        # The edge where a defect becomes a sentence: the status has been sent.
        log.exception("%s failed", request.path)
        return {"error": write_error(Unavailable("a defect"))[1]}
