"""Files that are no pictures, on Telegram: what the bot reads of them, and what it says of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.files.text_files import TEXT_BYTES
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Chat, Message

CODE = "def f(x):\n    return x\n"
ECHO = {"match": "nothing that anybody says", "answer": ""}
"""A turn that no line matches is said back."""


def attaches(
    person: Person, name: str, data: bytes, words: str = "", kind: str = "", chat: Chat | None = None, **fields: Any
) -> Message:
    person.server.world.files[name] = data
    document = {"file_id": name, "file_unique_id": name, "file_name": name, "file_size": len(data)}
    return person.says(words, chat, document=document | ({"mime_type": kind} if kind else {}), **fields)


@pytest.fixture
async def server() -> Any:
    async with telegram() as server:
        yield server


async def test_a_text_file_stands_behind_the_words(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path, ECHO):
        asked = attaches(ann, "f.py", CODE.encode(), "What does this do?", "text/x-python")
        answer = await answer_to(asked, ann.private)
        assert answer.text.startswith("What does this do?")
        assert [code.strip() for code, _ in answer.entities("pre")] == [CODE.strip()]
        alone = await answer_to(attaches(ann, "notes.txt", "\ufeffgrün".encode("utf-16")), ann.private)
        assert "notes.txt" in alone.text
        assert "grün" in alone.text


async def test_a_reply_to_a_text_file_is_about_that(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path, ECHO):
        file = attaches(bob, "f.py", CODE.encode(), chat=group)
        answer = await answer_to(ann.says("@party_bot why?", group, reply_to=file), group)
        assert answer.text.startswith("why?")
        assert "return x" in answer.text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("talk.pdf", b"%PDF-1.4", "can't read"),
        ("f.py", b"\xff\x00\xff", "can't read"),
        ("long.txt", b"x" * (TEXT_BYTES + 1), "too large"),
    ],
)
async def test_a_question_under_a_file_that_cannot_be_read_is_not_answered_without_it(
    server: TelegramServer, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    ann = server.person()
    async with party(server, tmp_path, ECHO):
        answer = await answer_to(attaches(ann, name, data, "Summarise this."), ann.private)
        assert words in answer.text
        assert "Summarise" not in answer.text


@pytest.mark.parametrize("kind", ["voice", "audio", "video", "video_note"])
async def test_what_was_recorded_gets_a_sentence(server: TelegramServer, tmp_path: Path, kind: str) -> None:
    ann = server.person()
    recorded: dict[str, Any] = {
        kind: {"file_id": "r", "file_unique_id": "r", "duration": 3, "width": 9, "height": 9, "length": 9}
    }
    async with party(server, tmp_path, ECHO):
        answer = await answer_to(ann.says(**recorded), ann.private)
    assert "can't read" in answer.text
    assert kind.partition("_")[0] in answer.text


async def test_a_reply_to_a_file_of_another_chat_is_about_that(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Bob"}
    server.world.files["f.py"] = CODE.encode()
    file = {"file_id": "f.py", "file_unique_id": "f.py", "file_name": "f.py", "file_size": len(CODE)}
    voice = {"file_id": "v", "file_unique_id": "v", "duration": 3}
    async with party(server, tmp_path, ECHO):
        asked = ann.says("why?", external_reply={"origin": origin, "document": file})
        assert "return x" in (await answer_to(asked, ann.private)).text
        asked = ann.says("why?", external_reply={"origin": origin, "voice": voice})
        assert "can't read" in (await answer_to(asked, ann.private)).text
