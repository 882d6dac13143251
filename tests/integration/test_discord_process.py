"""`partyline run` on Discord as an operator starts it: by the environment, killed, restarted, with logs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.integration.discord_operator import Operator, answers
from tests.integration.discord_parts import is_complete
from tests.servers.discord import TOKEN, DiscordServer


def descriptions(command: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The translations of a command's description, and of all that is in it."""
    yield command.get("description_localizations") or {}
    for option in command.get("options", ()):
        yield from descriptions(option)


@asynccontextmanager
async def discord_server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer().serving() as discord:
        yield discord


async def test_the_environment_is_enough(tmp_path: Path) -> None:
    async with discord_server() as discord:
        room, ann = discord.room(), discord.person("Ann")
        operator = Operator(tmp_path, discord)
        async with operator.running() as process:
            assert "Discord as Partyline" in await operator.ready(process)
            await ann.says(room, "@bot what makes the tide?")
            answer = await discord.until(lambda: next((m for m in answers(discord, room) if is_complete(m)), None))
            assert answer["content"].startswith("The moon pulls.")
            assert len(answer["history"]) > 2
            changed = await ann.calls(room, "settings temperature", value=0.3)
            await discord.until(lambda: changed.private)
        async with operator.running() as process:
            await operator.ready(process)
            shown = await ann.calls(room, "settings show")
            await discord.until(lambda: shown.private)
            assert "Temperature: **0.3**" in shown.private[0]["content"]
            await ann.presses(room, answer, "Regenerate")
            await discord.until(lambda: len(answers(discord, room)) == 2 and is_complete(answers(discord, room)[1]))


async def test_real_models_look_at_what_people_send(tmp_path: Path) -> None:
    async with discord_server() as discord:
        room, other, ann = discord.room(), discord.room("other"), discord.person("Ann")
        operator = Operator(tmp_path, discord, PARTYLINE_MODEL="demo", PARTYLINE_CAPTIONER="demo")
        async with operator.running() as process:
            await operator.ready(process)
            circle = await asyncio.to_thread(drawn)
            await ann.says(room, "@bot", attachments=[discord.attach("circle.png", circle)])
            half = discord.attach("half.png", circle[: len(circle) // 2])
            used = await ann.calls(other, "caption", image=half)
            caption = await discord.until(
                lambda: next((m for m in answers(discord, room) if is_complete(m)), None), timeout_s=120
            )  # torch is imported for it, perhaps by several processes at once
            assert "red circle" in caption["content"]
            assert "demo captioner" in caption["content"].splitlines()[-1]
            refused = await discord.until(lambda: next((m for m in answers(discord, other) if is_complete(m)), None))
            assert "picture" in refused["content"]
            assert used.original is refused
            await ann.says(room, "@bot what shape is that?")
            answer = await discord.until(lambda: next((m for m in answers(discord, room)[1:] if is_complete(m)), None))
            assert "tokens" in answer["content"].splitlines()[-1]


def drawn() -> bytes:
    """A red circle as a PNG."""
    image = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(image).ellipse((100, 60, 220, 180), fill=(220, 30, 30))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("base", ["", "/", "/api", "/api/v10", "/api/v10/"])
async def test_any_way_to_write_the_address_will_do(tmp_path: Path, base: str) -> None:
    async with discord_server() as discord:
        environ = {"DISCORD_API_BASE": discord.address + base, "DISCORD_GATEWAY_URL": ""}
        operator = Operator(tmp_path, discord, **environ)
        async with operator.running() as process:
            assert "Discord as Partyline" in await operator.ready(process)


async def test_a_wrong_token_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    async with discord_server() as discord:
        operator = Operator(tmp_path, discord, DISCORD_TOKEN="wrong.token.here")
        async with operator.running() as process:
            assert await process.wait() == 1
        said = operator.log.read_text()
        assert "partyline: " in said
        assert "DISCORD_TOKEN" in said
        assert "Traceback" not in said
        assert "wrong.token" not in said


async def test_no_token_reaches_the_log(tmp_path: Path) -> None:
    async with discord_server() as discord:
        room, ann = discord.room(), discord.person("Ann")
        operator = Operator(tmp_path, discord, PARTYLINE_LOG_LEVEL="debug")
        async with operator.running() as process:
            await operator.ready(process)
            used = await ann.calls(room, "ask", prompt="hello")
            await discord.until(lambda: used.original and is_complete(used.original))
            late = await ann.calls(room, "ask", prompt="hello")
            late.expired = True
            await discord.until(lambda: any("hello" in message["content"] for message in answers(discord, room)[1:]))
            await discord.until(lambda: all(map(is_complete, answers(discord, room))))
        assert await asyncio.to_thread(unanswered, tmp_path) == 0
        async with operator.running("data", "export", f"discord:{ann.id}", "ann.json") as process:
            assert await process.wait() == 0
        exported = (tmp_path / "ann.json").read_text()
        assert "hello" in exported
        for secret in (TOKEN, used.token, late.token):
            assert secret not in operator.log.read_text() + exported


def unanswered(folder: Path) -> int:
    """How many events, and tokens of interactions, are kept with their contents."""
    with closing(sqlite3.connect(folder / "partyline.sqlite3")) as connection:
        return int(connection.execute("SELECT count(*) FROM inbox WHERE payload != ''").fetchone()[0])


async def test_sync_tells_discord_the_commands(tmp_path: Path) -> None:
    async with discord_server() as discord:
        operator = Operator(tmp_path, discord, PARTYLINE_MODEL="demo")
        async with operator.running("discord", "sync") as process:
            assert process.stdout is not None
            said = (await process.stdout.read()).decode()
            assert await process.wait() == 0
        assert said.startswith(f"Discord knows {len(discord.commands)} commands")
        named = {command["name"]: command for command in discord.commands}
        assert {"code", "ask", "caption", "settings", "reset", "stop", "help", "Caption image"} <= set(named)
        for_people = [command for name, command in named.items() if name != "partyline"]
        assert all(sorted(command["integration_types"]) == [0, 1] for command in for_people)
        assert all(sorted(command["contexts"]) == [0, 1, 2] for command in for_people)
        assert (named["partyline"]["integration_types"], named["partyline"]["contexts"]) == ([0], [0])
        assert named["partyline"]["default_member_permissions"] in (1 << 5, str(1 << 5))
        languages = {"es-ES", "es-419", "de", "zh-CN", "ru"}
        for command in discord.commands:
            assert command.get("type", 1) != 1 or all(set(told) == languages for told in descriptions(command))
        assert set(named["Caption image"]["name_localizations"]) == languages
        temperature = next(each for each in named["settings"]["options"] if each["name"] == "temperature")
        assert (temperature["options"][0]["min_value"], temperature["options"][0]["max_value"]) == (0.1, 1.0)
        async with operator.running("discord", "sync", "--guild", discord.guilds[0]) as process:
            assert await process.wait() == 0
        assert any(call.path.endswith(f"/guilds/{discord.guilds[0]}/commands") for call in discord.calls)
