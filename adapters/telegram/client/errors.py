"""What an error of the Bot API means for the delivery."""

from __future__ import annotations

import re

import httpx
from telegram import error as api

from adapters.delivery.channel import (
    ChannelError,
    Forbidden,
    MessageGone,
    Rejected,
    RetryAfter,
    UnknownOutcome,
    Unsent,
)

NOT_MODIFIED = "message is not modified"
NO_TEXT = "there is no text in the message to edit"
_GONE = ("message to edit not found", "message to delete not found", "message_id_invalid", "message can't be edited")
_NO_RIGHT = (
    "not enough rights",
    "have no rights",
    "need administrator rights",
    "chat not found",
    "peer_id_invalid",
    "chat_write_forbidden",
    "chat_restricted",
    "chat_send_",
    "topic_closed",
    "topic_deleted",
    "message thread not found",
    "was kicked",
    "is deactivated",
    "was deactivated",
    "was deleted",
)
_WAIT = re.compile(r"(?:retry after |slowmode_wait_|flood_wait_)(\d+)", re.IGNORECASE)
_HTTPX_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class NotConnected(api.NetworkError):
    """The request was not sent."""


def channel_error(error: api.TelegramError) -> ChannelError:
    """The delivery's word for it; what it does about each is in `docs/delivery.md`."""
    if isinstance(error, api.RetryAfter):
        return RetryAfter(retry_after_s(error))
    if isinstance(error, api.InvalidToken) and "not found" in str(error).lower():
        return Rejected(f"the server does not know this method: {error}")
    if isinstance(error, api.Forbidden | api.InvalidToken):
        return Forbidden(str(error))
    if wait := _WAIT.search(str(error)):  # slow mode, or a 429 without parameters
        return RetryAfter(float(wait[1]))
    if isinstance(error, api.BadRequest):
        return _bad_request(str(error))
    if isinstance(error, NotConnected) or isinstance(error.__cause__, _HTTPX_NOT_CONNECTED):
        return Unsent(str(error))
    if "too many requests" in str(error).lower():
        return RetryAfter(1.0)
    if "entity too large" in str(error).lower():
        return Rejected(str(error))
    return UnknownOutcome(str(error))


def _bad_request(message: str) -> ChannelError:
    lowered = message.lower()
    if any(words in lowered for words in _GONE):
        return MessageGone(message)
    if any(words in lowered for words in _NO_RIGHT):
        return Forbidden(message)
    return Rejected(message)


def retry_after_s(error: api.RetryAfter) -> float:
    """The library is on its way from seconds to timedelta."""
    wait = error.retry_after
    return float(wait) if isinstance(wait, int | float) else wait.total_seconds()


def is_not_modified(error: BaseException | None) -> bool:
    """The message shows already what it should: the edit is done."""
    return isinstance(error, api.BadRequest) and NOT_MODIFIED in str(error).lower()


def has_no_text(error: BaseException | None) -> bool:
    """The message is a file: there is nothing in it that could be put in other words."""
    return isinstance(error, api.BadRequest) and NO_TEXT in str(error).lower()
