"""Pressed buttons, those of messages from before a restart included: their ids say all that is needed.

The library hands a press on only if the interaction's own message shows that button.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Self

import discord

from adapters.delivery.composing.attachments import text_file
from adapters.discord.access import may_manage_messages
from adapters.discord.inbound.interaction_intake import InteractionIntake, acknowledge, apologise, say
from adapters.discord.outbound.components import CUSTOM_ID, THINKING
from adapters.discord.outbound.content import MESSAGE_UNITS
from bots import wording
from bots.access.rights import Thing, Verb
from bots.messages import Action

_FILE_BYTES = 8 * 1024 * 1024


def answer_button(desk: InteractionIntake) -> type[discord.ui.DynamicItem[discord.ui.Button[Any]]]:
    """The class of all buttons under answers, for `Client.add_dynamic_items`."""

    class AnswerButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CUSTOM_ID):
        def __init__(self, action: str) -> None:
            super().__init__(discord.ui.Button(custom_id=f"partyline:{action}"))
            self.action = action

        @classmethod
        async def from_custom_id(
            cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
        ) -> Self:
            return cls(match["action"])

        async def callback(self, interaction: discord.Interaction) -> None:
            if interaction.message is None:
                return
            try:
                await _pressed(desk, interaction, self.action, interaction.message)
            except Exception as error:
                await apologise(interaction, error)

    return AnswerButton


async def _pressed(
    desk: InteractionIntake, interaction: discord.Interaction, name: str, message: discord.Message
) -> None:
    if name == THINKING:
        await acknowledge(interaction, "private")
        if await desk.passes(interaction, Thing.REASONING, Verb.OPEN, message):
            await _show_thinking(desk, interaction, str(message.id))
        return
    action, message_id = Action(name), str(message.id)
    await desk.accept(
        interaction,
        action.command,
        deferred="pressed",
        replies_to=message_id,
        on_behalf=may_manage_messages(interaction.permissions),
    )


async def _show_thinking(desk: InteractionIntake, interaction: discord.Interaction, message_id: str) -> None:
    storage = desk.answers.storage
    answer_id = await storage.answer_at(f"discord:{interaction.channel_id}", message_id)
    turn = await storage.turn(answer_id) if answer_id else None
    thinking = turn.thinking.strip() if turn else ""
    if not thinking:
        await say(interaction, wording.no_thinking())
    elif len(shown := discord.utils.escape_markdown(thinking)) <= MESSAGE_UNITS // 2:
        await say(interaction, shown)
    else:
        await _send_file(interaction, thinking)


async def _send_file(interaction: discord.Interaction, thinking: str) -> None:
    for part in text_file("thinking", "md", thinking, _FILE_BYTES):
        await interaction.followup.send(file=discord.File(BytesIO(part.data), part.name), ephemeral=True)
