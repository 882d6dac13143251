"""Updates that Telegram's servers bring: answered only when they are recorded. TLS is the operator's proxy's."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from adapters.telegram.inbound.intake import Intake, is_number
from inference.untrusted.bounded_json import loads
from inference.untrusted.connections import check_body
from inference.untrusted.connections import listening as bounded_listening

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_LONGEST_BODY = 2**20
_BODY_S = 30.0
_MAX_VALUES = 20_000


@asynccontextmanager
async def listening(intake: Intake, url: str, host: str, port: int, secret: str) -> AsyncIterator[int]:
    """Takes updates at the path of `url`, if they carry the secret, while the context is open; the port."""
    hook = _Webhook(intake, secret)
    app = web.Application(client_max_size=_LONGEST_BODY)
    app.router.add_post(urlsplit(url).path or "/", hook.receive)
    async with bounded_listening(app, host, port) as bound:
        yield bound


class _Webhook:
    def __init__(self, intake: Intake, secret: str) -> None:
        self._intake = intake
        self._secret = secret.encode()

    async def receive(self, request: web.Request) -> web.Response:
        """200 when the update is kept; Telegram repeats what gets any other answer than 2xx, so what can never be read
        gets it too.
        """
        # Bytes that are no UTF-8 come as lone surrogates.
        given = request.headers.get(SECRET_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._secret):
            return web.Response(status=403)
        try:
            async with asyncio.timeout(_BODY_S):
                update = await _update(request)
        except TimeoutError:
            return web.Response(status=408)
        if update is None:
            return web.Response()
        try:
            await self._intake.record([update])
        except Exception:
            log.exception("update %s could not be kept; Telegram will bring it again", update["update_id"])
            return web.Response(status=503)
        return web.Response()


async def _update(request: web.Request) -> dict[str, Any] | None:
    """The update; None where the body holds none, or one that is too long."""
    try:
        check_body(request, _LONGEST_BODY)
        update = loads(await request.read(), values=_MAX_VALUES)
    except (ValueError, web.HTTPException) as error:
        log.warning("an update is left out, it cannot be read: %r", error)
        return None
    if not isinstance(update, dict) or not is_number(update.get("update_id")):
        log.warning("an update without a number is left out")
        return None
    return update
