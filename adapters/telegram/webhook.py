"""Updates that Telegram's servers bring: answered only when they are recorded. TLS is the operator's proxy's."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

from adapters.telegram.intake import Intake

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_LONGEST_BODY = 2**20


@asynccontextmanager
async def listening(intake: Intake, url: str, host: str, port: int, secret: str) -> AsyncIterator[int]:
    """Takes updates at the path of `url`, if they carry the secret, while the context is open; the port."""
    hook = _Webhook(intake, secret)
    app = web.Application(client_max_size=_LONGEST_BODY)
    app.router.add_post(urlsplit(url).path or "/", hook.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class _Webhook:
    def __init__(self, intake: Intake, secret: str) -> None:
        self._intake = intake
        self._secret = secret.encode()

    async def receive(self, request: web.Request) -> web.Response:
        """200 when the update is kept; Telegram repeats what gets any other answer than 2xx."""
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), self._secret):
            return web.Response(status=403)
        try:
            update = json.loads(await request.text())
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
