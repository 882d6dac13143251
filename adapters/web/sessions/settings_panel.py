"""The settings panel over the bot's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from adapters.web.channel.setting_views import SettingView
from bots.bot import Bot
from bots.profile.preferences import Profile, Setting, UserError


class PreferencesPanel:
    """Implements `adapters.web.channel.setting_views.SettingsPanel`."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def describe(self, person_id: str) -> Sequence[SettingView]:
        profile = await self._bot.profile(person_id)
        return [_view(setting, profile) for setting in self._bot.settings.values()]

    async def change(self, person_id: str, name: str, value: str) -> str | None:
        try:
            return await self._bot.change_setting(person_id, name, value or "off")
        except UserError as refusal:
            raise ValueError(str(refusal)) from None


def _view(setting: Setting, profile: Profile) -> SettingView:
    value = profile[setting.name]
    choices = setting.choices
    if setting.kind == "choice" and value not in choices:
        choices = (*choices, value)  # "custom": what temperature and top-p make by hand
    return SettingView(
        name=setting.name,
        label=setting.label,
        kind=_kind(setting),
        value="" if value == "off" else value,
        default="" if setting.default == "off" else setting.default,
        help=setting.help,
        low=setting.low,
        high=setting.high,
        step=setting.step,
        choices=choices,
        advanced=setting.advanced,
    )


def _kind(setting: Setting) -> Literal["range", "choice", "text"]:
    """A setting that can be off has no place on a slider, so it is written."""
    if setting.kind == "choice":
        return "choice"
    return "text" if setting.default == "off" else "range"
