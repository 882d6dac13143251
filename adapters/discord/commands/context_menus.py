"""What can be done with a message that somebody right-clicks, or holds down."""

from __future__ import annotations

from collections.abc import Iterator

import discord
from discord import app_commands
from discord.app_commands import locale_str

from adapters.discord.inbound import parsing
from adapters.discord.inbound.attachments import is_picture, is_text
from adapters.discord.inbound.interaction_intake import InteractionIntake, acknowledge, say
from bots import wording
from bots.access.rights import Thing, Verb


def message_menus(desk: InteractionIntake) -> Iterator[app_commands.ContextMenu]:
    async def caption(interaction: discord.Interaction, message: discord.Message) -> None:
        pictures = [file for file in parsing.files(message) if is_picture(file)]
        if pictures:
            await desk.accept(interaction, "/caption", files=pictures)
        elif await desk.passes(interaction, Thing.WORDS, Verb.SEE):
            await say(interaction, wording.no_picture_there())

    async def explain(interaction: discord.Interaction, message: discord.Message) -> None:
        texts = [file for file in parsing.files(message) if is_text(file)]
        if (said := parsing.said(message)) or texts:
            await desk.accept(interaction, f"/ask {wording.explain_request()}\n\n{said}", files=texts)
        elif await desk.passes(interaction, Thing.WORDS, Verb.SEE):
            await say(interaction, wording.no_code_there())

    async def go_on(interaction: discord.Interaction, message: discord.Message) -> None:
        await acknowledge(interaction, "private")
        if not await desk.passes(interaction, Thing.ANSWER, Verb.FOLLOW, message):
            return
        chat, storage = f"discord:{interaction.channel_id}", desk.answers.storage
        answer_id = await storage.answer_at(chat, str(message.id))
        if answer_id is not None:
            await storage.set_head(chat, f"discord:{interaction.user.id}", answer_id)
        await say(interaction, wording.goes_on_from_there() if answer_id else wording.no_answer_there())

    for name, callback in (("Caption image", caption), ("Explain this code", explain), ("Continue from here", go_on)):
        yield app_commands.ContextMenu(name=locale_str(name), callback=callback)
