"""`partyline run` as a process against the Bot API server: what survives `kill -9`, and what a wrong start says."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes import script
from tests.integration.telegram_parts import SCRIPT, answer_to
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until
from tests.servers.telegram_world import Chat

pytestmark = pytest.mark.timeout(90)


@asynccontextmanager
async def partyline(
    folder: Path, server: TelegramServer, code: str = "from adapters.cli import main; main()", **environ: str
) -> AsyncIterator[Process]:
    """The program in a folder of its own; ends with the context."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    settings = {
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_API_BASE": server.address,
        "PARTYLINE_MODEL": f"scripted:{folder / 'script.jsonl'}",
        "PARTYLINE_CAPTIONER": "demo",
        "PARTYLINE_TELEGRAM__PRIVATE_INTERVAL_S": "0.1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "run", cwd=folder, env=inherited | settings | environ, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def shown(chat: Chat) -> list[str]:
    """What can be read of answers now, as messages or as drafts."""
    return [*(answer.text for answer in chat.answers), *chat.drafts.values()]


@pytest.mark.parametrize("drafts", ["false", "true"])
async def test_killed_while_three_answers_grow_each_comes_once(tmp_path: Path, drafts: str) -> None:
    script(tmp_path, {"match": "slow", "answer": "word " * 90, "tokens_per_s": 45})
    async with telegram() as server:
        people = [server.person(f"Person {n}", n) for n in (1, 2, 3)]
        async with partyline(tmp_path, server, PARTYLINE_TELEGRAM__DRAFTS=drafts) as process:
            questions = [person.says("slow") for person in people]
            for person in people:
                await until(lambda chat=person.private: any("word" in text for text in shown(chat)))  # type: ignore[misc]
            process.kill()
        late = people[0].says("and while you were dead")
        async with partyline(tmp_path, server, PARTYLINE_TELEGRAM__DRAFTS=drafts):
            for person, question in zip(people, questions, strict=True):
                answer = await answer_to(question, person.private)
                await until(lambda chat=person.private: any(each.text.count("word") == 90 for each in chat.answers))  # type: ignore[misc]
                assert answer.content["reply_to_message"]["message_id"] == question.id
            assert (await answer_to(late, people[0].private)).text.startswith("and while you were dead")
        for person in people:
            assert sum("word" in each.text for each in person.private.answers) == 1
        assert len(server.world.confirmed) == 4
        assert len(set(server.world.confirmed)) == 4


async def test_killed_between_the_two_words_of_a_move_the_conversation_goes_on(tmp_path: Path) -> None:
    script(tmp_path, *SCRIPT)
    async with telegram() as server:
        ann, group = server.person(), server.small_group()
        async with partyline(tmp_path, server) as process:
            await answer_to(ann.says("@party_bot fibonacci", group), group)
            supergroup = server.upgrade(group)
            server.tell_upgrade(group, supergroup, new=False)
            await until(lambda: not server.world.updates)
            process.kill()
        async with partyline(tmp_path, server):
            server.tell_upgrade(group, supergroup, old=False)
            answer = await answer_to(ann.says("/regenerate@party_bot", supergroup), supergroup)
    assert answer.entities("pre")


async def test_what_was_set_is_there_after_a_restart_and_a_picture_is_described(tmp_path: Path) -> None:
    script(tmp_path, *SCRIPT)
    async with telegram() as server:
        ann = server.person()
        async with partyline(tmp_path, server) as process:
            assert "0.3" in (await answer_to(ann.says("/temperature 0.3"), ann.private)).text
            assert "red" in (await answer_to(ann.shows(_red_square()), ann.private)).text
            process.terminate()
            stdout, stderr = await process.communicate()
        assert process.returncode == 0, stderr
        assert b"Telegram as @party_bot" in stdout
        assert TOKEN.partition(":")[2].encode() not in stdout + stderr
        async with partyline(tmp_path, server, TELEGRAM_API_BASE=f"{server.address}/bot"):
            assert "0.3" in (await answer_to(ann.says("/temperature"), ann.private)).text


def _red_square() -> bytes:
    import io

    from PIL import Image, ImageDraw

    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).rectangle((32, 32, 96, 96), fill="red")
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


async def test_a_token_that_the_server_does_not_know_is_one_sentence(tmp_path: Path) -> None:
    script(tmp_path, *SCRIPT)
    async with telegram() as server, partyline(tmp_path, server, TELEGRAM_TOKEN="1:wrong-secret") as process:
        _, stderr = await process.communicate()
    said = [line for line in stderr.decode().splitlines() if line.startswith("partyline: ")]
    assert process.returncode == 2
    assert len(said) == 1
    assert "telegram.token" in said[0]
    assert b"wrong-secret" not in stderr
    assert b"Traceback" not in stderr
