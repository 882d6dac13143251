"""Long polling that loses nothing: a batch is recorded before the next one is asked for, which confirms it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NoReturn

from telegram import Bot as Api
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from adapters.telegram.failures import retry_after_s
from adapters.telegram.intake import KINDS, Intake

log = logging.getLogger(__name__)

_WAIT_S = 25
"""How long the server holds a poll that has nothing to tell."""
_ANSWER_WITHIN_S = 15.0
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
# The library would warn of its own method under the usual name; that one fails whole batches for one odd update.
_ENDPOINT = "get_Updates"


async def poll(api: Api, intake: Intake) -> NoReturn:
    """Takes updates for ever; whatever fails is tried again."""
    offset: int | None = None
    failures = 0
    now = asyncio.get_running_loop().time
    while True:
        asked_at = now()
        try:
            updates = await _batch(api, offset)
            await intake.take(updates)
        except Exception as error:
            failures += 1
            pause = _pause_s(error, failures)
            log.warning("no updates, again in %.1f s: %s", pause, _reason(error))
            await asyncio.sleep(pause)
        else:
            failures = 0
            if updates:
                offset = int(updates[-1]["update_id"]) + 1
            elif now() < asked_at + _FIRST_PAUSE_S:
                await asyncio.sleep(_FIRST_PAUSE_S)  # a server that holds no polls must not be asked without end


async def _batch(api: Api, offset: int | None) -> list[dict[str, Any]]:
    wanted = {"offset": offset, "timeout": _WAIT_S, "allowed_updates": list(KINDS)}
    result: Any = await api.do_api_request(_ENDPOINT, api_kwargs=wanted, read_timeout=_WAIT_S + _ANSWER_WITHIN_S)
    updates = [update for update in result if isinstance(update, dict) and isinstance(update.get("update_id"), int)]
    return sorted(updates, key=lambda update: int(update["update_id"]))


def _pause_s(error: Exception, failures: int) -> float:
    if isinstance(error, RetryAfter):
        return retry_after_s(error)
    return min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(10, failures - 1))


def _reason(error: Exception) -> str:
    match error:
        case Conflict():
            return f"another program takes this bot's updates ({error})"
        case InvalidToken():
            return "the server does not know this token any more"
        case TelegramError():
            return str(error)
    return repr(error)
