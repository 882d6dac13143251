"""Updates that Telegram's servers bring: answered only when they are recorded. TLS is the operator's proxy's."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

from adapters.telegram.intake import Intake
from inference.bounded_json import loads
from inference.connections import check_body
from inference.connections import listening as bounded_listening

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
        """200 when the update is kept; Telegram repeats what gets any other answer than 2xx."""
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), self._secret):
            return web.Response(status=403)
        check_body(request, _LONGEST_BODY)
        try:
            async with asyncio.timeout(_BODY_S):
                body = await request.read()
            update = loads(body, values=_MAX_VALUES)
        except TimeoutError:
            return web.Response(status=408)
        except ValueError:
            return web.Response(status=400)
        if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
            return web.Response(status=400)
        try:
            await self._intake.take([update])
        except Exception:
            log.exception("update %s could not be kept; Telegram will bring it again", update["update_id"])
            return web.Response(status=503)
        return web.Response()
