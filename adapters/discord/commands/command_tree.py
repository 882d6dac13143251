"""The command menu: typed options in, the same words out that a message would hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from adapters.discord.commands.admin_commands import bounds_group
from adapters.discord.commands.context_menus import message_menus
from adapters.discord.commands.modals import PromptModal
from adapters.discord.commands.settings_group import IN_SETTINGS, settings_group
from adapters.discord.commands.translations import Translations
from adapters.discord.inbound.events import File
from adapters.discord.inbound.interaction_intake import InteractionIntake, apologise, say
from adapters.discord.inbound.parsing import file_of
from bots import wording
from bots.bot import Bot
from bots.commands.registry import COMMANDS, EXAMPLES, Command

log = logging.getLogger(__name__)

LANGUAGES = (
    "Python", "JavaScript", "TypeScript", "Java", "C", "C++", "C#", "Go", "Rust", "Ruby", "PHP", "Swift", "Kotlin",
    "SQL", "Bash", "PowerShell", "HTML", "CSS", "Lua", "Perl", "R", "Scala", "Haskell", "Julia",
)  # fmt: skip
_SHOWN_CHOICES = 25
_TYPED = {"code", "ask", "caption", "settings", "examples"}
_DESCRIPTION = 100
"""Characters; Discord's limit."""
_SHOWN = {"regenerate", "continue"}
"""Commands whose answer all may see; the bot's own words are for the asker."""
_CONTEXTS = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
_INSTALLS = app_commands.AppInstallationType(guild=True, user=True)
_KINDS = {kind.value for kind in discord.AppCommandType}


class Tree(app_commands.CommandTree):
    """Also serves clients that still show the commands of an earlier version."""

    def __init__(self, client: discord.Client, desk: InteractionIntake) -> None:
        super().__init__(client, allowed_contexts=_CONTEXTS, allowed_installs=_INSTALLS)
        self._desk = desk

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """The library falls over kinds of commands that it does not know, and Discord has some that are not ours."""
        kind = cast(dict[str, Any], interaction.data or {}).get("type", 1)
        if kind in _KINDS:
            return True
        log.warning("interaction %s is left out: its command is of an unknown kind", interaction.id)
        await say(interaction, wording.not_here())
        return False

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        if interaction.type is discord.InteractionType.autocomplete:
            log.warning("interaction %s is left out: %s", interaction.id, type(error).__name__)
            return
        if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
            text, files = as_written(cast(dict[str, Any], interaction.data or {}))
            shown = text.split()[0][1:] in {"code", "ask", "caption", *_SHOWN}
            try:
                await self._desk.accept(interaction, text, files=files, deferred="shown" if shown else "private")
            except Exception as failure:
                await apologise(interaction, failure)
            return
        if isinstance(error, app_commands.CheckFailure):
            await say(interaction, wording.not_here())
            return
        await apologise(interaction, error)


def as_written(data: dict[str, Any]) -> tuple[str, tuple[File, ...]]:
    """The command as a person would have typed it, and its attachments, from what Discord sends."""
    attached = data.get("resolved", {}).get("attachments", {})
    words: list[str] = []
    files: list[File] = []
    for option in _options(data):
        value = option.get("value")
        if value is None:
            words.append(str(option["name"]))
        elif option.get("type") == discord.AppCommandOptionType.attachment.value:
            found = attached[str(value)]
            files.append(File(found["url"], found["filename"], found["size"], found.get("content_type", "")))
        else:
            words.append(str(value))
    return " ".join([f"/{data['name']}", *words]), tuple(files)


def _options(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for option in data.get("options", ()):
        yield option
        yield from _options(option)


def add_commands(tree: Tree, desk: InteractionIntake, bot: Bot) -> None:
    """Fills the tree. Commands that the bot knows and that need no options of their own follow by themselves."""
    tree.add_command(_code(desk))
    tree.add_command(_ask(desk))
    tree.add_command(_caption(desk))
    tree.add_command(_examples(desk))
    tree.add_command(settings_group(desk, bot))
    tree.add_command(bounds_group(desk, bot))
    for command in COMMANDS:
        if command.name not in {*_TYPED, *IN_SETTINGS}:
            tree.add_command(_plain(desk, command))
    for menu in message_menus(desk):
        tree.add_command(menu)


async def sync(tree: Tree, guild: int = 0) -> int:
    """Tells Discord what the commands are, everywhere or (at once) on one server; returns how many there are."""
    await tree.set_translator(Translations())
    target = discord.Object(guild) if guild else None
    if target:
        tree.copy_global_to(guild=target)
    return len(await tree.sync(guild=target))


def _summary(name: str) -> locale_str:
    return locale_str(next(command.summary for command in COMMANDS if command.name == name))


def _code(desk: InteractionIntake) -> app_commands.Command[Any, ..., Any]:
    @app_commands.describe(
        prompt=locale_str("What it should do; leave it out to write a long one"),
        language=locale_str("The programming language"),
    )
    async def code(
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 6000] | None = None,
        language: app_commands.Range[str, 1, 40] | None = None,
    ) -> None:
        opening = f"/code In {language}: " if language else "/code "
        if prompt is None:
            await PromptModal(desk, opening).open(interaction)
        else:
            await desk.accept(interaction, opening + prompt)

    command: app_commands.Command[Any, ..., Any] = app_commands.Command(
        name="code", description=_summary("code"), callback=code
    )

    @command.autocomplete("language")
    async def languages(interaction: discord.Interaction, typed: str) -> list[Choice[str]]:
        fitting = sorted(LANGUAGES, key=lambda name: not name.lower().startswith(typed.lower()))
        return [Choice(name=name, value=name) for name in fitting if typed.lower() in name.lower()][:_SHOWN_CHOICES]

    return command


def _ask(desk: InteractionIntake) -> app_commands.Command[Any, ..., Any]:
    @app_commands.describe(
        prompt=locale_str("Your question; leave it out to write a long one"), image=locale_str("A picture")
    )
    async def ask(
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 6000] | None = None,
        image: discord.Attachment | None = None,
    ) -> None:
        if prompt is None and image is None:
            await PromptModal(desk, "/ask ").open(interaction)
        else:
            await desk.accept(interaction, f"/ask {prompt or ''}", files=[file_of(image)] if image else ())

    return app_commands.Command(name="ask", description=_summary("ask"), callback=ask)


def _caption(desk: InteractionIntake) -> app_commands.Command[Any, ..., Any]:
    @app_commands.describe(image=locale_str("A picture"), prompt=locale_str("How the caption begins, or a question"))
    async def caption(
        interaction: discord.Interaction,
        image: discord.Attachment,
        prompt: app_commands.Range[str, 1, 2000] | None = None,
    ) -> None:
        await desk.accept(interaction, f"/caption {prompt or ''}", files=[file_of(image)])

    return app_commands.Command(name="caption", description=_summary("caption"), callback=caption)


def _examples(desk: InteractionIntake) -> app_commands.Command[Any, ..., Any]:
    texts = [example.text for example in EXAMPLES if example.text != "/caption"]

    @app_commands.describe(example=locale_str("An example to try at once"))
    async def examples(
        interaction: discord.Interaction, example: app_commands.Range[str, 1, 100] | None = None
    ) -> None:
        if example is None:
            await desk.accept(interaction, "/examples", deferred="private")
        else:
            await desk.accept(interaction, example if example.startswith("/") else f"/ask {example}")

    command: app_commands.Command[Any, ..., Any] = app_commands.Command(
        name="examples", description=_summary("examples"), callback=examples
    )

    @command.autocomplete("example")
    async def choices(interaction: discord.Interaction, typed: str) -> list[Choice[str]]:
        return [Choice(name=text, value=text) for text in texts if typed.lower() in text.lower()][:_SHOWN_CHOICES]

    return command


def _plain(desk: InteractionIntake, command: Command) -> app_commands.Command[Any, ..., Any]:
    """A command with at most one text after it, as its usage says."""
    deferred: Any = "shown" if command.name in _SHOWN else "private"

    async def bare(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, f"/{command.name}", deferred=deferred)

    @app_commands.describe(argument=locale_str("What follows the command"))
    async def with_argument(
        interaction: discord.Interaction, argument: app_commands.Range[str, 1, 1000] | None = None
    ) -> None:
        await desk.accept(interaction, f"/{command.name} {argument or ''}", deferred=deferred)

    callback: Any = bare if command.usage == f"/{command.name}" else with_argument
    description = locale_str(command.summary[:_DESCRIPTION])
    return app_commands.Command(name=command.name, description=description, callback=callback)
