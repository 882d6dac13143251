"""Long polling that loses nothing: a batch is recorded before the next one is asked for, which confirms it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from telegram import Bot as Api
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from adapters.storage.errors import DatabaseAway, Locked
from adapters.telegram.client.errors import retry_after_s
from adapters.telegram.inbound.intake import KINDS, Intake, is_number

log = logging.getLogger(__name__)

_WAIT_S = 25
"""How long the server holds a poll that has nothing to tell."""
_ANSWER_WITHIN_S = 15.0
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
_CONFLICT_PAUSE_S = 3.0
"""Whoever polls last is served. Two processes so take turns, and one that stands by is soon there when the other ends.

The server itself tells of a conflict at most once in 3 s (telegram-bot-api, Client.cpp).
"""
_TELL_EVERY_S = 3_600.0
_MOST_REFUSALS = 5
# The library would warn of its own method under the usual name; that one fails whole batches for one odd update.
_ENDPOINT = "get_Updates"


async def poll(api: Api, intake: Intake) -> NoReturn:
    """Takes updates for ever; whatever fails is tried again."""
    offset: int | None = None
    failures, told_at = 0, float("-inf")
    refusals: Counter[int] = Counter()
    now = asyncio.get_running_loop().time
    while True:
        asked_at = now()
        try:
            updates = await _batch(api, offset)
            confirmed = await _taken(intake, updates, refusals)
        except Exception as error:
            failures += 1
            pause = _pause_s(error, failures)
            is_known = isinstance(error, Conflict) and asked_at < told_at + _TELL_EVERY_S
            if not is_known:
                log.warning("no updates, again in %.1f s: %s", pause, _reason(error))
                told_at = asked_at
            await asyncio.sleep(pause)
        else:
            failures = 0
            if confirmed is not None:
                offset = confirmed + 1
            # A server that holds no polls, or repeats what cannot be confirmed, must not be asked without end.
            if refusals or (confirmed is None and now() < asked_at + _FIRST_PAUSE_S):
                await asyncio.sleep(_FIRST_PAUSE_S)


async def _batch(api: Api, offset: int | None) -> list[dict[str, Any]]:
    wanted = {"offset": offset, "timeout": _WAIT_S, "allowed_updates": list(KINDS)}
    result: Any = await api.do_api_request(_ENDPOINT, api_kwargs=wanted, read_timeout=_WAIT_S + _ANSWER_WITHIN_S)
    updates = [update for update in result if isinstance(update, dict)] if isinstance(result, list) else []
    if odd := [update for update in updates if not is_number(update.get("update_id"))]:
        log.warning("%d updates without a number are left out", len(odd))
    numbered = [update for update in updates if is_number(update.get("update_id"))]
    return sorted(numbered, key=lambda update: int(update["update_id"]))


async def _taken(intake: Intake, updates: Sequence[dict[str, Any]], refusals: Counter[int]) -> int | None:
    """The number up to which everything is recorded, so that it may be confirmed.

    Args:
        refusals: how often an update could not be recorded that is alone with that.

    Raises:
        Exception: none of them can be recorded.
    """
    try:
        await intake.record(updates)
    except (DatabaseAway, Locked):
        raise
    except Exception:
        if len(updates) < 2:
            raise
    else:
        refusals.clear()
        return int(updates[-1]["update_id"]) if updates else None
    return await _taken_alone(intake, updates, refusals)


async def _taken_alone(intake: Intake, updates: Sequence[dict[str, Any]], refusals: Counter[int]) -> int | None:
    """The same one by one: what fails where others succeed is tried a few times, and then left out."""
    failed: dict[int, Exception] = {}
    for update in updates:
        try:
            await intake.record([update])
        except (DatabaseAway, Locked):
            raise
        except Exception as error:
            failed[int(update["update_id"])] = error
    if len(failed) == len(updates):
        raise next(iter(failed.values()))
    for number, failure in failed.items():
        refusals[number] += 1
        if refusals[number] < _MOST_REFUSALS:
            return number - 1
        log.error("update %d is left out, it cannot be recorded: %s", number, _reason(failure))
    refusals.clear()
    return int(updates[-1]["update_id"])


def _pause_s(error: Exception, failures: int) -> float:
    if isinstance(error, RetryAfter):
        return retry_after_s(error)
    if isinstance(error, Conflict):
        return _CONFLICT_PAUSE_S
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
