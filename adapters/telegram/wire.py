"""The library's way to a Bot API server, for servers that say in the body alone whether a call was done."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from telegram.request import HTTPXRequest

from adapters.delivery.permitted import Permitted, at_once


class BotApiRequest(HTTPXRequest):
    """Takes `ok` and `error_code` for what a status of 200 leaves open.

    Args:
        permitted: waited for before each request.
    """

    def __init__(self, permitted: Permitted = at_once, **options: Any) -> None:
        super().__init__(**options)
        self._permitted = permitted

    async def do_request(self, *arguments: Any, **more: Any) -> tuple[int, bytes]:
        await self._permitted()
        code, payload = await super().do_request(*arguments, **more)
        return (told_code(payload) if code == HTTPStatus.OK else code), payload


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
