"""Whom Discord lets in: servers, channels, roles, direct messages, as operator and admins have set it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from config.settings import DiscordSettings


class Permissions(Protocol):
    """What of `discord.Permissions` is looked at here."""

    @property
    def administrator(self) -> bool: ...
    @property
    def manage_guild(self) -> bool: ...
    @property
    def manage_messages(self) -> bool: ...


CHANNELS = "channels"
"""The name under which a server's admins keep the channels where the bot answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where somebody is: ids, empty outside of a server; `roles` are the person's there."""

    guild: str = ""
    channel: str = ""
    above: str = ""
    roles: Collection[str] = ()


def is_allowed(settings: DiscordSettings, where: Where) -> bool:
    """The operator's word; an empty list allows all."""
    if not where.guild:
        return settings.dms
    if settings.guilds and where.guild not in settings.guilds:
        return False
    if settings.channels and not {where.channel, where.above} & set(settings.channels):
        return False
    return not settings.roles or bool(set(where.roles) & set(settings.roles))


def is_answered_in(bounds: Mapping[str, str], where: Where) -> bool:
    """The word of a server's admins; no channels named means all of them."""
    named = channels_of(bounds)
    return not named or bool({where.channel, where.above} & set(named))


def channels_of(bounds: Mapping[str, str]) -> list[str]:
    return [channel for channel in bounds.get(CHANNELS, "").split(",") if channel]


def may_manage_messages(permissions: Permissions) -> bool:
    """Whether somebody may take other people's messages away there; administrators may do everything."""
    return permissions.manage_messages or permissions.administrator


def may_manage_server(permissions: Permissions) -> bool:
    return permissions.manage_guild or permissions.administrator


def listens(settings: DiscordSettings, where: Where) -> bool:
    """Whether it answers here without being mentioned."""
    return bool({where.channel, where.above} & set(settings.listen) - {""})
