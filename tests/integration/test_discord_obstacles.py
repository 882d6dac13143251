"""What stands in the bot's way on Discord: each has its sentence or its silent end, and no slot stays taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.discord_parts import Party, party
from tests.servers.discord_world import Room

LONG = {"match": "pages", "answer": "word " * 3500}


async def growing(p: Party, room: Room) -> dict[str, Any]:
    return dict(await p.discord.until(lambda: next((m for m in p.answers(room) if "word" in m["content"]), None)))


async def lose_the_right_to_edit(p: Party, room: Room) -> None:
    room.forbidden |= {"send", "edit"}


async def delete_the_channel(p: Party, room: Room) -> None:
    del p.discord.rooms[room.id]
    await p.discord.dispatch("CHANNEL_DELETE", p.discord.channel_of(room))


async def delete_the_answer(p: Party, room: Room) -> None:
    await p.discord.delete(room, p.answers(room)[0]["id"])


async def lock_the_thread(p: Party, room: Room) -> None:
    room.archived = room.locked = True


Obstacle = Callable[[Party, Room], Awaitable[None]]


@pytest.mark.parametrize(
    "happens",
    [lose_the_right_to_edit, delete_the_channel, delete_the_answer, lock_the_thread],
    ids=lambda obstacle: obstacle.__name__,
)
async def test_in_mid_answer_it_frees_the_slot_and_others_do_not_notice(tmp_path: Path, happens: Obstacle) -> None:
    async with party(tmp_path, slots=1) as p:
        room = p.discord.room("elsewhere", kind=11, parent=p.room.id)
        await p.discord.dispatch("GUILD_CREATE", p.discord.guild_now())
        await p.ann.says(room, "@bot slow")
        await growing(p, room)
        await happens(p, room)
        await p.discord.person("Bob").says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")


async def test_somebody_who_blocks_the_bot_costs_nothing(tmp_path: Path) -> None:
    async with party(tmp_path, slots=1) as p:
        direct = p.discord.direct(p.ann)
        direct.forbidden |= {"send", "edit"}
        await p.ann.says(direct, "slow")
        await p.discord.person("Bob").says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert p.answers(direct) == []


async def test_without_leave_to_attach_files_the_words_come_alone(tmp_path: Path) -> None:
    async with party(tmp_path, LONG, max_tokens=4096) as p:
        p.room.forbidden.add("attach")
        await p.ann.says(p.room, "@bot pages")
        await p.discord.until(lambda: sum(message["content"].count("word") for message in p.answers()) == 3500)
        await p.ann.says(p.room, "@bot hello")
        assert (await p.answer())["content"].startswith("hello")
        assert not any(message["attachments"] for message in p.answers())


async def test_with_leave_a_long_answer_is_a_file_too(tmp_path: Path) -> None:
    async with party(tmp_path, LONG, max_tokens=4096) as p:
        await p.ann.says(p.room, "@bot pages")
        [file] = await p.discord.until(lambda: [file for message in p.answers() for file in message["attachments"]])
        assert file["filename"] == "answer.md"


async def test_slow_mode_delays_an_answer_and_loses_nothing_of_it(tmp_path: Path) -> None:
    line = {"match": "pages", "answer": "word " * 700}
    async with party(tmp_path, line) as p:
        p.room.slow_s = 3.0
        await p.ann.says(p.room, "@bot pages")
        await p.discord.until(lambda: sum(message["content"].count("word") for message in p.answers()) == 500)
        assert any(call.status == 429 for call in p.discord.calls)


async def test_a_question_to_a_channel_that_it_may_not_write_in_is_no_loss_later(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        p.room.forbidden |= {"send"}
        await p.ann.says(p.room, "@bot hello")
        used = await p.ann.calls(p.room, "ask", prompt="by command")
        await p.discord.until(lambda: used.original and used.original["content"].startswith("by command"))
        p.room.forbidden.clear()
        await p.ann.says(p.room, "@bot again")
        assert (await p.answer())["content"].startswith("again")
        assert [message["content"].splitlines()[0] for message in p.answers()] == ["by command", "again"]


async def test_an_acknowledgement_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        p.discord.lost_acknowledgements = 2
        used = await p.ann.calls(p.room, "settings temperature", value=0.3)
        await p.discord.until(lambda: used.private)
        assert "0.3" in used.private[0]["content"]
