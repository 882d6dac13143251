"""`/partyline`: what the admins of a server decide for it. Discord shows it to those who may manage the server."""

from __future__ import annotations

from typing import Any, Literal

import discord
from discord import app_commands
from discord.app_commands import locale_str

from adapters.discord.inbound.events import place
from adapters.discord.inbound.interaction_intake import InteractionIntake, acknowledge, say
from bots import wording
from bots.access.rights import Thing, Verb
from bots.bot import Bot
from bots.profile.preferences import BOUNDED, UserError

_Channel = discord.TextChannel | discord.VoiceChannel | discord.ForumChannel | discord.Thread


def bounds_group(desk: InteractionIntake, bot: Bot) -> app_commands.Group:
    group = app_commands.Group(
        name="partyline",
        description=locale_str("What this server's admins decide"),
        default_permissions=discord.Permissions(manage_guild=True),
        allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )
    group.add_command(_channels(desk))
    group.add_command(_limits(desk, bot))
    return group


def _channels(desk: InteractionIntake) -> app_commands.Command[Any, ..., Any]:
    @app_commands.describe(change=locale_str("What to do"), channel=locale_str("The channel, if it is not this one"))
    async def channels(
        interaction: discord.Interaction,
        change: Literal["show", "add", "remove", "everywhere"] = "show",
        channel: _Channel | None = None,
    ) -> None:
        await acknowledge(interaction, "private")
        if not await desk.passes(interaction, Thing.SERVER, Verb.CHANGE):
            return
        guild = str(interaction.guild_id)
        named = await desk.places.channels(guild)
        chosen = str(channel.id if channel else interaction.channel_id)
        match change:
            case "add":
                named = [*(each for each in named if each != chosen), chosen]
            case "remove":
                named = [each for each in named if each != chosen]
            case "everywhere":
                named = []
        if change != "show":
            await desk.places.set_channels(guild, named)
        sentence = wording.answers_in([f"<#{each}>" for each in named]) if named else wording.answers_everywhere()
        await say(interaction, sentence)

    return app_commands.Command(
        name="channels", description=locale_str("Where the bot answers on this server"), callback=channels
    )


def _limits(desk: InteractionIntake, bot: Bot) -> app_commands.Command[Any, ..., Any]:
    @app_commands.describe(
        setting=locale_str("Which setting"), highest=locale_str("The highest value that counts here, or off")
    )
    async def limits(interaction: discord.Interaction, setting: str, highest: str | None = None) -> None:
        await acknowledge(interaction, "private")
        if not await desk.passes(interaction, Thing.SERVER, Verb.CHANGE):
            return
        guild = str(interaction.guild_id)
        if highest is None:
            bound = (await desk.places.bounds(guild)).get(setting)
            await say(interaction, wording.place_bound(bot.settings[setting], bound))
            return
        try:
            sentence = await bot.bound(place(guild), setting, highest.strip().lower())
        except UserError as refusal:
            sentence = str(refusal)
        desk.places.changed(guild)
        await say(interaction, sentence)

    choices = [app_commands.Choice(name=bot.settings[name].label, value=name) for name in BOUNDED]
    callback: Any = app_commands.choices(setting=choices)(limits)
    return app_commands.Command(
        name="limits", description=locale_str("The most that people may choose here"), callback=callback
    )
