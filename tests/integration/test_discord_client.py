"""Commands, forms, buttons and permissions in a simulated client, which lets people do only what Discord does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import simcord
from discord import Permissions
from yarl import URL

from adapters.app import phrases
from adapters.delivery.channel import Channel, ChannelError
from adapters.delivery.composing.frame_builder import FrameBuilder
from adapters.delivery.outcome import DELIVERED, Ending, Outcome
from adapters.discord.client.connection import new_client
from adapters.discord.commands.command_tree import sync
from adapters.discord.commands.translations import WORDS, translated
from adapters.discord.platform import Platform
from adapters.storage.memory.storage import MemoryStorage
from bots.bot import Bot
from bots.commands.registry import COMMANDS
from bots.commands.summaries import LANGUAGES
from bots.messages import ReplyEvent
from bots.ports import Deliveries
from bots.profile.preferences import SettingBounds
from config.settings import DiscordSettings
from inference.api import (
    Caption,
    CaptionRequest,
    ChatRequest,
    Event,
    Finished,
    Message,
    ModelInfo,
    Text,
    Timings,
    Usage,
)


class Echo:
    """Says the prompt back, all at once: the simulated client has a clock of its own, which no engine follows."""

    info = ModelInfo(name="echo", context_tokens=8192, captioner="eyes")
    is_away = False

    def loading(self, what: str = "model") -> None:
        return

    async def ready(self) -> None:
        return

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Text(request.messages[-1].content)
        yield Finished("length" if "more" in request.messages[-1].content else "stop", Usage(), Timings())

    async def caption(self, request: CaptionRequest) -> Caption:
        return Caption(f"a picture of {len(request.image)} bytes", Timings())

    async def forget_captions(self) -> None:
        pass

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content) for message in messages)

    def cancel(self, request_id: str) -> None:
        return


class AtOnce:
    """A delivery without pace: every message is sent once, in its last form."""

    async def deliver(
        self,
        channel: Channel,
        chat: str,
        events: AsyncGenerator[ReplyEvent, None],
        *,
        reply_to: str | None,
        record: Deliveries,
        asker: str = "",
        party: str = "",
        state_of: str = "",
    ) -> Outcome:
        assembler = FrameBuilder(channel.limits, channel.measure, phrases())
        async for event in events:
            assembler.apply(event, 0.0)
        assembler.close(0.0)
        for part in assembler.parts:
            for placed in part.messages(0.0, 0):
                try:
                    message_id = await channel.send(placed.frame, reply_to=reply_to, nonce=f"{chat}{placed}"[:25])
                except ChannelError as error:
                    return Outcome(Ending.LOST, str(error))
                if placed.answer_id:
                    await record.record_delivery(chat, placed.answer_id, placed.position, message_id)
        return DELIVERED


@dataclass
class Scene:
    env: simcord.Env
    guild: Any
    room: Any
    ann: Any
    storage: MemoryStorage

    @property
    def bot(self) -> str:
        """Its mention."""
        assert self.env.bot.user is not None
        return self.env.bot.user.mention


@asynccontextmanager
async def scene(**settings: Any) -> AsyncIterator[Scene]:
    storage, client = MemoryStorage(), new_client()
    numbers = iter(range(10_000))
    bot = Bot(Echo(), storage, bounds=SettingBounds(), now=lambda: 0.0, new_id=lambda: f"id{next(numbers)}")
    configured = DiscordSettings.model_validate({"together_s": 0.0} | settings)

    async def from_cdn(address: URL, limit: int, serves: Callable[[URL], bool]) -> bytes:
        """There are no sockets here; `test_redirects` has the real one."""
        assert serves(address)
        data: bytes = await client.http.get_from_cdn(str(address))
        return data

    stack = AsyncExitStack()
    stack.enter_context(pytest.MonkeyPatch.context()).setattr("adapters.discord.platform.download", from_cdn)
    async with stack, asyncio.TaskGroup() as tasks, simcord.run(client) as env:
        platform = Platform(bot, AtOnce(), storage, configured, tasks)
        tree = platform.equip(client)
        await sync(tree)
        await platform.setup_hook()
        await platform.on_ready()
        guild = env.create_guild()
        room = guild.create_text_channel("general")
        yield Scene(env, guild, room, guild.add_member(env.create_user("ann")), storage)


def labels(message: Any) -> list[str]:
    return [button.label for row in message.components for button in row.children]


async def test_a_mention_is_answered() -> None:
    async with scene() as s:
        await s.ann.send(s.room, f"{s.bot} hello")
        assert s.room.last_message.content.startswith("hello")
        assert labels(s.room.last_message) == ["Regenerate"]


async def test_settings_are_typed_bounded_and_private() -> None:
    async with scene() as s:
        changed = await s.ann.slash(s.room, "settings temperature", value=0.3)
        assert changed.ephemeral
        with pytest.raises(simcord.SetupError):
            await s.ann.slash(s.room, "settings temperature", value=1.5)
        assert changed.response.content == "Temperature is now 0.3."
        shown = await s.ann.slash(s.room, "settings show")
        assert "Temperature: **0.3**" in shown.response.content
        await s.ann.slash(s.room, "settings reset")
        assert await s.storage.preferences(f"discord:{s.ann.id}") == {}


async def test_a_prompt_that_is_left_out_opens_a_form() -> None:
    async with scene() as s:
        shown = await s.ann.slash(s.room, "code", language="Rust")
        assert shown.modal is not None
        [field] = [row["component"]["custom_id"] for row in shown.modal["components"]]
        done = await s.ann.submit_modal(shown, {field: "sort a list"})
        assert "In Rust: sort a list" in done.response.content


async def test_advanced_settings_are_a_form() -> None:
    async with scene() as s:
        shown = await s.ann.slash(s.room, "settings advanced")
        fields = {row["label"]: row["component"]["custom_id"] for row in shown.modal["components"]}
        done = await s.ann.submit_modal(shown, {fields["Top-k"]: "40", fields["Seed"]: "minus one"})
        assert done.ephemeral
        assert "Top-k is now 40" in done.response.content
        assert "Seed is a number" in done.response.content


async def test_a_language_is_completed() -> None:
    async with scene() as s:
        found = await s.ann.autocomplete(s.room, "code", "language", "ja")
        names = [choice["name"] for choice in getattr(found, "autocomplete_choices", found)]
        assert names == ["JavaScript", "Java"]


async def test_a_picture_is_captioned_from_the_command_and_from_the_menu() -> None:
    async with scene(api_base="http://cdn.simcord.invalid") as s:
        posted = await s.ann.send(s.room, "look", attachments=[("cat.png", b"x" * 12)])
        done = await s.ann.context_menu(s.room, "Caption image", posted)
        assert "a picture of 12 bytes" in done.response.content
        none = await s.ann.context_menu(s.room, "Caption image", await s.ann.send(s.room, "words"))
        assert none.ephemeral


async def test_code_of_a_message_is_explained() -> None:
    async with scene() as s:
        posted = await s.ann.send(s.room, "print(1)")
        done = await s.ann.context_menu(s.room, "Explain this code", posted)
        assert "Explain this code" in done.response.content
        assert "print" in done.response.content


async def test_a_conversation_goes_on_from_an_older_answer() -> None:
    async with scene() as s:
        await s.ann.send(s.room, f"{s.bot} first")
        older = s.room.last_message
        await s.ann.send(s.room, f"{s.bot} second")
        done = await s.ann.context_menu(s.room, "Continue from here", older)
        assert done.ephemeral
        assert "goes on from that answer" in done.response.content
        await s.ann.send(s.room, f"{s.bot} third")
        answer_id = await s.storage.answer_at(f"discord:{s.room.id}", str(s.room.last_message.id))
        assert answer_id is not None
        assert [turn.text for turn in await s.storage.branch(answer_id, 9)] == ["first", "first", "third", "third"]
        none = await s.ann.context_menu(s.room, "Continue from here", await s.ann.send(s.room, "words"))
        assert none.ephemeral
        assert "none of my answers" in none.response.content


async def test_an_example_is_completed_and_answered() -> None:
    async with scene() as s:
        found = await s.ann.autocomplete(s.room, "examples", "example", "dra")
        assert [choice["name"] for choice in getattr(found, "autocomplete_choices", found)] == ["Dragons"]
        done = await s.ann.slash(s.room, "examples", example="Dragons")
        assert done.response.content.startswith("Dragons")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("help", "/code"),
        ("examples", "Dragons"),
        ("privacy", "What I keep of you"),
        ("stats", "What you used"),
        ("stop", "Nothing"),
        ("reset", "New conversation"),
        ("link", "code"),
    ],
)
async def test_the_bots_own_words_are_for_the_asker(command: str, words: str) -> None:
    async with scene() as s:
        done = await s.ann.slash(s.room, command)
        assert done.ephemeral
        assert words.lower() in done.response.content.lower()


@pytest.mark.parametrize(("prompt", "goes_on"), [("what is it?", False), ("how many legs has it?", True)])
async def test_a_question_about_a_picture(prompt: str, goes_on: bool) -> None:
    """A plain request gets the caption; of anything else the model hears, with the caption."""
    async with scene(api_base="http://cdn.simcord.invalid") as s:
        done = await s.ann.slash(s.room, "ask", prompt=prompt, image=("cat.png", b"x" * 12))
        assert "a picture of 12 bytes" in done.response.content
        assert (prompt in done.response.content) is goes_on


async def test_a_button_answers_anew_and_only_for_the_asker() -> None:
    async with scene() as s:
        await s.ann.send(s.room, f"{s.bot} hello")
        first = s.room.last_message
        await s.ann.click(first, label="Regenerate")
        assert s.room.last_message.id != first.id
        bob = s.guild.add_member(s.env.create_user("bob"))
        refused = await bob.click(first, label="Regenerate")
        assert "somebody else" in refused.response.content
        assert refused.ephemeral


async def test_bounds_are_for_those_who_manage_the_server() -> None:
    async with scene() as s:
        with pytest.raises(simcord.SetupError):
            await s.ann.slash(s.room, "partyline limits", setting="max_tokens", highest="50")
        assert await s.storage.preferences(f"place:discord:{s.guild.id}") == {}
        role = s.guild.create_role("Admins", permissions=Permissions(manage_guild=True))
        ada = s.guild.add_member(s.env.create_user("ada"), roles=[role])
        await ada.slash(s.room, "partyline limits", setting="max_tokens", highest="50")
        assert await s.storage.preferences(f"place:discord:{s.guild.id}") == {"max_tokens": "50"}


async def test_where_the_bot_may_not_write_it_is_silent_and_goes_on() -> None:
    async with scene() as s:
        s.env.inject_error("POST", f"/channels/{s.room.id}/messages", status=403)
        other = s.guild.create_text_channel("other")
        asked = await s.ann.send(s.room, f"{s.bot} hello")
        assert s.room.last_message.id == asked.id
        await s.ann.send(other, f"{s.bot} hello")
        assert other.last_message.content.startswith("hello")


def test_the_menu_is_short_enough_and_whole_in_every_language() -> None:
    english = [*WORDS, *(command.summary for command in COMMANDS)]
    for language in LANGUAGES:
        for words in english:
            there = translated(words, language)
            assert there is not None
            assert there != words
            assert 0 < len(there) <= 100
    assert all(len(words) <= 100 for words in english)
