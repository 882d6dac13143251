"""`/settings` with a subcommand for each setting, whose bounds Discord checks before the bot does."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from adapters.discord.commands.modals import AdvancedModal
from adapters.discord.inbound.interaction_intake import IN_TIME_S, InteractionIntake
from bots.access.rights import Thing, Verb
from bots.bot import Bot
from bots.commands.registry import COMMANDS
from bots.profile.preferences import Setting

IN_SETTINGS = ("temperature", "top_p", "max_tokens", "preset", "thinking", "seed")
_SUMMARIES = {command.name: command.summary for command in COMMANDS}


def settings_group(desk: InteractionIntake, bot: Bot) -> app_commands.Group:
    group = app_commands.Group(name="settings", description=locale_str("See and change your settings"))
    group.add_command(_said(desk, "show", "Show your settings", "/settings"))
    for name in IN_SETTINGS:
        group.add_command(_one(desk, bot.settings[name]))
    group.add_command(_advanced(desk, bot))
    group.add_command(_said(desk, "reset", "Bring the defaults back", "/settings reset"))
    return group


def _said(desk: InteractionIntake, name: str, summary: str, text: str) -> app_commands.Command[Any, ..., Any]:
    async def callback(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, text, deferred="private")

    return app_commands.Command(name=name, description=locale_str(summary), callback=callback)


def _one(desk: InteractionIntake, setting: Setting) -> app_commands.Command[Any, ..., Any]:
    async def change(interaction: discord.Interaction, value: str) -> None:
        await desk.accept(interaction, f"/settings {setting.name} {value}", deferred="private")

    change.__annotations__["value"] = _kind(setting)
    callback: Any = app_commands.describe(value=locale_str("The new value"))(change)
    if setting.kind == "choice":
        choices = [Choice(name=choice, value=choice) for choice in setting.choices]
        callback = app_commands.choices(value=choices)(callback)
    return app_commands.Command(name=setting.name, description=locale_str(_SUMMARIES[setting.name]), callback=callback)


def _kind(setting: Setting) -> Any:
    """The option's type; a setting that can be off is text, since numbers have no such word."""
    if setting.kind == "number":
        return app_commands.Range[float, setting.low, setting.high]
    if setting.kind == "integer" and setting.default != "off":
        return app_commands.Range[int, int(setting.low), int(setting.high)]
    return str


def _advanced(desk: InteractionIntake, bot: Bot) -> app_commands.Command[Any, ..., Any]:
    fields = [setting for setting in bot.settings.values() if setting.advanced][:5]

    async def advanced(interaction: discord.Interaction) -> None:
        if await desk.passes(interaction, Thing.SETTINGS, Verb.SEE):
            async with asyncio.timeout(IN_TIME_S):  # a form cannot follow an acknowledgement
                profile = await bot.profile(f"discord:{interaction.user.id}")
            await interaction.response.send_modal(AdvancedModal(desk, profile, fields))

    return app_commands.Command(
        name="advanced", description=locale_str("Settings for those who know them"), callback=advanced
    )
