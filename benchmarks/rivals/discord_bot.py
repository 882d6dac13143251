"""The usual bot on Discord: `python -m benchmarks.rivals.discord_bot API SOURCE TOKENS GATEWAY`.

Its token is in `BOT_TOKEN`. As the one on Telegram; where Discord says 429, or is about to, discord.py waits by itself.
Each finished answer prints the numbers of its channel and its question.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import aclosing

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from benchmarks.rivals.pieces import Pieces, pieces

EVERY_S = 1.0
PLACEHOLDER = "…"


class Bot(discord.Client):
    def __init__(self, answer: Pieces) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self._answer = answer

    async def on_message(self, message: discord.Message) -> None:
        if self.user is None or message.author == self.user or not self.user.mentioned_in(message):
            return
        question = message.content.replace(self.user.mention, "").strip()
        shown = await message.reply(PLACEHOLDER)
        text, edited_at, seen = "", 0.0, PLACEHOLDER
        async with aclosing(self._answer(question)) as arriving:
            async for piece in arriving:
                text += piece
                if time.monotonic() - edited_at >= EVERY_S and text.strip() not in ("", seen):
                    seen = text.strip()
                    await shown.edit(content=seen)
                    edited_at = time.monotonic()
        if text.strip() not in ("", seen):
            await shown.edit(content=text.strip())
        print(message.channel.id, message.id, flush=True)


def main() -> None:
    api, source, tokens, gateway = sys.argv[1:5]
    Route.BASE = api
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    Bot(pieces(source, int(tokens))).run(os.environ["BOT_TOKEN"], log_handler=None)


if __name__ == "__main__":
    main()
