"""Forms for what is too long for an option, or too rare for one of its own."""

from __future__ import annotations

import discord

from adapters.discord.inbound.interaction_intake import InteractionIntake, acknowledge, apologise, say
from bots import wording
from bots.access.rights import Thing, Verb
from bots.profile.preferences import Profile, Setting, UserError

_LONGEST = 4000
"""Characters; Discord's limit for one field."""


class _Form(discord.ui.Modal):
    async def on_error(  # type: ignore[override]  # a form has no item that failed
        self, interaction: discord.Interaction, error: Exception, /
    ) -> None:
        await apologise(interaction, error)


class PromptModal(_Form):
    """A field for a long prompt; `opening` is the command that it belongs to."""

    def __init__(self, desk: InteractionIntake, opening: str) -> None:
        super().__init__(title=wording.prompt_title())
        self._desk, self._opening = desk, opening
        self.prompt: discord.ui.TextInput[PromptModal] = discord.ui.TextInput(
            style=discord.TextStyle.paragraph, max_length=_LONGEST
        )
        self.add_item(discord.ui.Label(text=wording.prompt_label(), component=self.prompt))

    async def open(self, interaction: discord.Interaction) -> None:
        if await self._desk.passes(interaction, Thing.WORDS, Verb.SEE):
            await interaction.response.send_modal(self)

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await self._desk.accept(interaction, self._opening + self.prompt.value)


class AdvancedModal(_Form):
    """The settings that few people change, each with what it is now."""

    def __init__(self, desk: InteractionIntake, profile: Profile, settings: list[Setting]) -> None:
        super().__init__(title=wording.advanced_title())
        self._desk, self._profile = desk, profile
        self._fields: dict[str, discord.ui.TextInput[AdvancedModal]] = {}
        for setting in settings:
            field: discord.ui.TextInput[AdvancedModal] = discord.ui.TextInput(
                default=profile[setting.name], max_length=200, required=False
            )
            self._fields[setting.name] = field
            self.add_item(
                discord.ui.Label(text=setting.label, description=setting.allowed.capitalize()[:100], component=field)
            )

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await acknowledge(interaction, "private")
        if not await self._desk.passes(interaction, Thing.SETTINGS, Verb.CHANGE):
            return
        person = f"discord:{interaction.user.id}"
        said = [
            await self._changed(person, name, field.value or "off")
            for name, field in self._fields.items()
            if (field.value or "off") != self._profile[name]
        ]
        await say(interaction, "\n".join(said) or wording.nothing_changed())

    async def _changed(self, person: str, name: str, value: str) -> str:
        try:
            return await self._desk.answers.bot.change_setting(person, name, value)
        except UserError as refusal:
            return str(refusal)
