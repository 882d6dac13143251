"""People put their newest question differently: it is answered anew, in the place of the old answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.delivery.channel import Unsent
from adapters.storage.memory.storage import MemoryStorage
from adapters.telegram.outbound.channel import TelegramChannel
from tests.integration.telegram_parts import SCRIPT, answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def test_the_newest_question_is_answered_anew_in_place(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        question = ann.says("a slow one")
        answer = await answer_to(question, ann.private, over=False)
        await until(lambda: "word" in answer.text)
        ann.edits(question, "fibonacci")
        await until(lambda: answer.entities("pre") and "Regenerate" in answer.buttons)
        ann.edits(question, "fibonacci")
        follow = await answer_to(ann.says("thanks"), ann.private)
        ann.edits(question, "too late, there is a newer question")
        assert (await answer_to(ann.says("bye"), ann.private)).text.startswith("bye")
    assert follow.text.startswith("thanks")
    assert len(ann.private.answers) == 3


async def test_a_restart_changes_nothing_about_it(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    lines = {"match": "complete code", "answer": "in code"}, *SCRIPT
    async with party(server, tmp_path, *lines, storage=storage):
        older = ann.says("hello")
        older_answer = await answer_to(older, ann.private)
        question = ann.says("long")
        answer = await answer_to(question, ann.private)
    async with party(server, tmp_path, *lines, storage=storage):
        ann.edits(older, "not the newest")
        ann.edits(question, "long")
        ann.edits(question, "fibonacci")
        await until(lambda: answer.entities("pre") and "Regenerate" in answer.buttons)
    async with party(server, tmp_path, *lines, storage=storage):
        ann.edits(question, "/code fibonacci")
        await until(lambda: answer.text.startswith("in code") and "Regenerate" in answer.buttons)
        ann.says("/regenerate")
        await until(lambda: len(ann.private.answers) == 3 and "Regenerate" in ann.private.answers[-1].buttons)
    assert older_answer.text.startswith("hello")
    assert not any("Writing" in text for text in older_answer.history[2:])
    turns = [turn for turn in storage._turns.values() if turn.text == "fibonacci" or turn.text == "long"]
    assert len({turn.parent_id for turn in turns}) == 1, "each takes the place of the one before it"


async def test_an_answer_of_several_messages_gives_its_place_to_one(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    words = " ".join(f"word{n}" for n in range(1500))
    lines = {"match": "count", "answer": words}, {"match": "hello", "answer": "Hello."}
    async with party(server, tmp_path, *lines, storage=storage):
        question = ann.says("count")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
        first, *others = ann.private.answers
    async with party(server, tmp_path, *lines, storage=storage):
        ann.edits(question, "hello")
        await until(lambda: first.text.startswith("Hello.") and "Regenerate" in first.buttons)
        await until(lambda: all(each.deleted for each in others))
    assert others


async def test_a_message_that_cannot_be_deleted_now_is_deleted_later(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the next start: what is left of an old answer would read like a part of the new one."""
    ann, storage, whole = server.person(), MemoryStorage(), TelegramChannel.delete
    asked = asyncio.Event()

    async def away(self: TelegramChannel, message_id: str) -> None:
        asked.set()
        raise Unsent("it is away")

    words = " ".join(f"word{n}" for n in range(1500))
    lines = {"match": "count", "answer": words}, {"match": "slow", "answer": "slow " * 100, "tokens_per_s": 50}
    async with party(server, tmp_path, *lines, storage=storage):
        question = ann.says("count")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
        first, *others = ann.private.answers
        monkeypatch.setattr(TelegramChannel, "delete", away)
        ann.edits(question, "slow")
        await asked.wait()
    monkeypatch.setattr(TelegramChannel, "delete", whole)
    async with party(server, tmp_path, *lines, storage=storage):
        await until(lambda: first.text.count("slow") == 100 and "Regenerate" in first.buttons)
        await until(lambda: all(each.deleted for each in others))
    assert len(others) > 1


async def test_a_process_that_dies_over_the_new_answer_leaves_it_to_the_next(
    server: TelegramServer, tmp_path: Path
) -> None:
    ann, storage = server.person(), MemoryStorage()
    slow = {"match": "slow", "answer": "word " * 200, "tokens_per_s": 60}
    async with party(server, tmp_path, slow, storage=storage):
        question = ann.says("hello")
        answer = await answer_to(question, ann.private)
        ann.edits(question, "slow")
        await until(lambda: "word word" in answer.text)
    async with party(server, tmp_path, slow | {"tokens_per_s": 2000}, storage=storage):
        await until(lambda: "Regenerate" in answer.buttons)
    assert answer.text.count("word") == 200
    assert len(ann.private.answers) == 1


async def test_of_many_edits_the_last_one_is_answered(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        question = ann.says("slow")
        answer = await answer_to(question, ann.private, over=False)
        for words in ("slow and slower", "slow again", "hello"):
            ann.edits(question, words)
        await until(lambda: answer.text.startswith("hello") and "Regenerate" in answer.buttons)
        await until(lambda: len(storage._answered) == 4)
    assert answer.text.startswith("hello")
    assert len(ann.private.answers) == 1


async def test_one_part_of_a_divided_text_changes_nothing(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        parts = [ann.says("fibonacci\n" * 300 + "end"), ann.says("and the rest")]
        answer = await answer_to(parts[0], ann.private)
    async with party(server, tmp_path, storage=storage):
        shown = len(answer.history)
        for part in parts:
            ann.edits(part, "hello")
        await until(lambda: len(storage._answered) == 4)
    assert len(answer.history) == shown
    assert len(ann.private.answers) == 1


async def test_an_edit_waits_for_the_long_text_that_it_changes(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        question = ann.says("fibonacci\n" * 300)
        ann.edits(question, "hello")
        await until(lambda: any(answer.text.startswith("hello") for answer in ann.private.answers))
    assert len(ann.private.answers) == 1


async def test_a_question_that_waits_can_be_changed(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        first = await answer_to(ann.says("slow"), ann.private, over=False)
        waiting = ann.says("hello")
        answer = await answer_to(waiting, ann.private, over=False)
        ann.edits(waiting, "fibonacci")
        ann.presses(first, "Stop")
        await until(lambda: answer.entities("pre") and "Regenerate" in answer.buttons)
    assert len(ann.private.answers) == 2


async def test_somebody_elses_question_is_not_theirs_to_change(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group, storage = server.person("Ann", 1), server.person("Bob", 2), server.group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        question = ann.says("@party_bot hello", group)
        answer = await answer_to(question, group)
    async with party(server, tmp_path, storage=storage):
        bob.edits(question, "@party_bot fibonacci", group)
        await answer_to(bob.says("@party_bot bye", group), group)
    assert answer.text.startswith("hello")


async def test_the_caption_of_a_picture_counts_and_that_of_an_album_does_not(
    server: TelegramServer, tmp_path: Path
) -> None:
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        album = [ann.shows(b"1", "/caption a drawing of", media_group_id="m"), ann.shows(b"22", media_group_id="m")]
        first = await answer_to(album[0], ann.private)
        shown = len(first.history)
        ann.edits(album[0], "/caption a photo of")
        picture = ann.shows(b"12345", "/caption a drawing of")
        answer = await answer_to(picture, ann.private)
        ann.edits(picture, "/caption a photo of")
        await until(lambda: answer.text.startswith("a photo of 5 bytes") and "Stop" not in answer.buttons)
        await until(lambda: len(storage._answered) == 5)
    assert len(first.history) == shown
    assert len(ann.private.answers) == 2
