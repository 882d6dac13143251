"""Telegram, serving: one bot from its token to its last answer."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from telegram import Bot as Api
from telegram import User
from telegram.error import InvalidToken, TelegramError

from adapters.delivery.outbox import Outboxes
from adapters.delivery.permitted import Permitted, at_once
from adapters.telegram.client.addresses import api_url, file_url
from adapters.telegram.client.redaction import redacted
from adapters.telegram.client.retry import patiently
from adapters.telegram.client.transport import BotApiRequest
from adapters.telegram.command_menu import offer
from adapters.telegram.handlers.callback_handler import CallbackHandler
from adapters.telegram.handlers.dispatcher import Dispatcher
from adapters.telegram.handlers.edits import EditableQuestions
from adapters.telegram.handlers.message_handler import MessageHandler
from adapters.telegram.handlers.settings_panel import Panels
from adapters.telegram.inbound.aggregation import UpdateAggregator
from adapters.telegram.inbound.intake import KINDS, Intake
from adapters.telegram.inbound.polling import poll
from adapters.telegram.outbound.reply_sender import ReplySender
from adapters.telegram.updates.chat_migration import ChatMigrations
from bots.bot import Bot
from bots.ports import Storage
from config.settings import ConfigError, TelegramSettings

log = logging.getLogger(__name__)

_CONNECTIONS = 256
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 30.0
_FINISH_S, _CLOSE_S = 0.5, 0.3
"""How long what has come to its end may take to be shown and recorded, and connections to be closed."""


@asynccontextmanager
async def serving(
    settings: TelegramSettings,
    bot: Bot,
    storage: Storage,
    outboxes: Outboxes,
    stopping: asyncio.Event | None = None,
    permitted: Permitted = at_once,
) -> AsyncIterator[str]:
    """Answers while the context is open; yields a line about it. A server that cannot be reached is tried again.

    What is not answered when the context is left is left as it is, for the next start.

    Args:
        stopping: once it is set nothing new is taken; what has begun goes on.
        permitted: waited for before each request that others may notice.

    Raises:
        ConfigError: the server does not know the token.
    """
    token = settings.token.get_secret_value()
    with redacted(token):
        # Updates are asked for without `permitted`: what is recorded of them is anybody's.
        calls, updates = BotApiRequest(_CONNECTIONS, permitted), BotApiRequest(1)
        api = bot_api(settings, calls, updates)
        try:
            me = await _introduced(api)
            async with asyncio.TaskGroup() as tasks:
                work = _run(api, me, settings, bot, storage, outboxes, stopping or asyncio.Event())
                running = tasks.create_task(work)
                hastening = tasks.create_task(_hasten(calls, updates, polls=not settings.webhook_url))
                try:
                    yield f"Telegram as {me.name}" if me else "Telegram (not reachable yet)"
                finally:
                    if stopping is not None and stopping.is_set():
                        await asyncio.wait([running], timeout=_FINISH_S)
                    running.cancel()
                    hastening.cancel()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await api.shutdown()


def bot_api(settings: TelegramSettings, calls: BotApiRequest, updates: BotApiRequest) -> Api:
    """The Bot API, not yet asked anything; `updates` are asked for on a connection of their own."""
    # The library's own way to choose the type that it will return in future; without it every 429 is a warning too.
    os.environ.setdefault("PTB_TIMEDELTA", "true")
    return Api(
        settings.token.get_secret_value(),
        base_url=api_url(settings.api_base),
        base_file_url=file_url(settings.file_base, settings.api_base),
        request=calls,
        get_updates_request=updates,
    )


async def _hasten(calls: BotApiRequest, updates: BotApiRequest, *, polls: bool) -> None:
    """What makes requests quicker takes a moment to import, which the first poll does not wait for."""
    if polls:
        await updates.has_begun.wait()
    await calls.hasten()
    await updates.hasten()


async def _introduced(api: Api) -> User | None:
    """Who the bot is; None while the server cannot be reached. Raises ConfigError."""
    try:
        await patiently(api.initialize)
    except InvalidToken:
        raise ConfigError(["telegram.token: the server does not know this token; copy it from BotFather"]) from None
    except TelegramError as error:
        log.warning("Telegram cannot be reached: %s", error)
        return None
    return api.bot


async def _run(
    api: Api,
    me: User | None,
    settings: TelegramSettings,
    bot: Bot,
    storage: Storage,
    outboxes: Outboxes,
    stopping: asyncio.Event,
) -> None:
    """Returns when everything that had begun before `stopping` is over."""
    retry_s = _FIRST_RETRY_S
    while me is None:
        await asyncio.sleep(retry_s)
        retry_s = min(_LAST_RETRY_S, 2 * retry_s)
        try:
            me = await _introduced(api)
        except ConfigError as error:
            log.error("Telegram is off: %s", error)
            return
    moves = ChatMigrations(storage, me.id)
    post = ReplySender(api, outboxes, storage, moves, settings)
    panels = Panels(bot, post, settings.token.get_secret_value())
    questions = EditableQuestions(storage)
    answering, presses = (
        MessageHandler(bot, post, questions, panels),
        CallbackHandler(bot, storage, post, questions, panels),
    )
    events = Dispatcher(me, storage, post, answering, presses, UpdateAggregator(), moves)
    async with asyncio.TaskGroup() as tasks:
        intake = Intake(storage, me.id, events.handle, tasks, time.time, bot.owners, bot.coming, events.asks)
        sources = [
            tasks.create_task(each) for each in (intake.recover(), offer(api), _take_updates(api, intake, settings))
        ]
        await stopping.wait()
        for source in sources:
            source.cancel()


async def _take_updates(api: Api, intake: Intake, settings: TelegramSettings) -> None:
    if not settings.webhook_url:
        try:
            await patiently(api.delete_webhook)
        except TelegramError as error:
            log.info("no webhook was taken back: %s", error)
        await poll(api, intake)
    from adapters.telegram.inbound.webhook import listening  # an HTTP server, which no poll waits for

    secret = settings.webhook_secret.get_secret_value() or secrets.token_urlsafe(32)
    async with listening(intake, settings.webhook_url, settings.webhook_host, settings.webhook_port, secret) as port:
        log.info("updates are taken on port %d", port)
        await _set_webhook(api, settings.webhook_url, secret)
        await asyncio.Event().wait()


async def _set_webhook(api: Api, url: str, secret: str) -> None:
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            await api.set_webhook(url, secret_token=secret, allowed_updates=KINDS)
        except TelegramError as error:
            log.warning("the webhook could not be set, again in %.0f s: %s", retry_s, error)
            await asyncio.sleep(retry_s)
            retry_s = min(_LAST_RETRY_S, 2 * retry_s)
        else:
            return
