"""The bot's status line: how much it is writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import discord

from bots import wording

_EVERY_S = 15.0
"""Discord takes 5 changes in 20 s; people do not look more often."""
_FIRST_S = 1.0


async def show_load(client: Callable[[], discord.Client | None], busy: Callable[[], int]) -> None:
    """Keeps the status line up to date, until it is cancelled."""
    shown: tuple[discord.Client | None, int] = (None, -1)
    while True:
        current = client()
        if current is not None and current.is_ready() and shown != (current, busy()):
            shown = current, busy()
            await _show(current, shown[1])
        await asyncio.sleep(_EVERY_S if shown[0] else _FIRST_S)


async def _show(client: discord.Client, count: int) -> None:
    try:
        await client.change_presence(activity=discord.CustomActivity(wording.presence(count)))
    except (ConnectionError, RuntimeError, discord.DiscordException):
        return  # the next connection shows it
