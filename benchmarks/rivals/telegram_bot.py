"""The usual bot on Telegram: `python -m benchmarks.rivals.telegram_bot API SOURCE TOKENS`, the token in `BOT_TOKEN`.

A placeholder goes out at once, then an edit a second shows what there is, and a last one the whole; where Telegram says
429 it waits for as long as it was told. Each finished answer prints the numbers of its chat and its question.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from telegram import LinkPreviewOptions, Message, Update
from telegram.error import RetryAfter
from telegram.ext import Application, Defaults, MessageHandler, filters

from benchmarks.rivals.pieces import Pieces, pieces

EVERY_S = 1.0
PLACEHOLDER = "…"


class Bot:
    def __init__(self, answer: Pieces) -> None:
        self._answer = answer

    async def on_message(self, update: Update, _: Any) -> None:
        message = update.effective_message
        if message is None or not message.text:
            return
        shown = await _patiently(lambda: message.reply_text(PLACEHOLDER, do_quote=True))
        text, edited_at, seen = "", 0.0, PLACEHOLDER
        async with aclosing(self._answer(message.text.replace("@party_bot", "").strip())) as arriving:
            async for piece in arriving:
                text += piece
                if time.monotonic() - edited_at >= EVERY_S and text.strip() not in ("", seen):
                    seen = text.strip()
                    await _edit(shown, seen)
                    edited_at = time.monotonic()
        if text.strip() not in ("", seen):
            await _edit(shown, text.strip())
        print(message.chat_id, message.message_id, flush=True)


async def _edit(message: Message, text: str) -> None:
    await _patiently(lambda: message.edit_text(text))


async def _patiently(call: Any) -> Any:
    while True:
        try:
            return await call()
        except RetryAfter as error:
            wait = error.retry_after
            await asyncio.sleep(wait.total_seconds() if isinstance(wait, timedelta) else wait)


def main() -> None:
    api, source, tokens = sys.argv[1:4]
    bot = Bot(pieces(source, int(tokens)))
    defaults = Defaults(link_preview_options=LinkPreviewOptions(is_disabled=True))
    builder = Application.builder().token(os.environ["BOT_TOKEN"]).base_url(f"{api}/bot").defaults(defaults)
    application = builder.concurrent_updates(True).build()
    application.add_handler(MessageHandler(filters.TEXT, bot.on_message))
    application.run_polling()


if __name__ == "__main__":
    main()
