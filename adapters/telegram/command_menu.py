"""The commands that Telegram offers while people type, in their language."""

from __future__ import annotations

import logging
from functools import partial

from telegram import Bot as Api
from telegram import BotCommand, BotCommandScope, BotCommandScopeAllGroupChats, BotCommandScopeAllPrivateChats
from telegram.error import TelegramError

from adapters.telegram.client.retry import patiently
from bots.commands.registry import COMMANDS
from bots.commands.summaries import LANGUAGES, summary

log = logging.getLogger(__name__)

_IN_GROUPS = {"ask", "code", "caption", "settings", "stop", "regenerate", "continue", "reset", "help"}
"""A group's list is everybody's: what only changes one person's settings is in the panel."""


def menu(language: str, names: set[str] | None = None) -> list[BotCommand]:
    return [
        BotCommand(command.name, summary(command, language))
        for command in COMMANDS
        if names is None or command.name in names
    ]


async def offer(api: Api) -> None:
    """Sets the lists of all languages; a server that does not take them costs nothing but a line in the log."""
    scopes: list[tuple[BotCommandScope, set[str] | None]] = [
        (BotCommandScopeAllPrivateChats(), None),
        (BotCommandScopeAllGroupChats(), _IN_GROUPS),
    ]
    try:
        for scope, names in scopes:
            for language in ("", *LANGUAGES):
                commands, code = menu(language, names), language or None
                await patiently(partial(api.set_my_commands, commands, scope=scope, language_code=code))
    except TelegramError as error:
        log.warning("the commands could not be offered: %s", error)
