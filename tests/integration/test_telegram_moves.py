"""A group becomes a supergroup, which has another id and other numbers for its messages: the conversation goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.storage.memory.storage import MemoryStorage
from bots import wording
from bots.access.allow_list import Access
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_world import Chat, Message

pytestmark = pytest.mark.timeout(30)
SLOW = {"match": "slow", "answer": "word " * 60, "tokens_per_s": 60}


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def first_answer(chat: Chat) -> Message:
    return await until(lambda: next((each for each in chat.answers if each.buttons), None))


async def test_an_answer_that_grows_goes_on_there_and_can_be_stopped(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.small_group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot slow", group), group, over=False)
        await until(lambda: "word" in answer.text)
        supergroup = server.upgrade(group)
        moved = await first_answer(supergroup)
        assert "reply_to_message" not in moved.content
        ann.presses(moved, "Stop", supergroup)
        await until(lambda: list(moved.buttons) == ["Continue", "Regenerate"])
        length = len(moved.text)
        ann.presses(moved, "Continue", supergroup)
        await until(lambda: len(moved.text) > length)
    assert len(supergroup.answers) == 1


async def test_no_word_is_lost_on_the_way(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.small_group()
    async with party(server, tmp_path, SLOW):
        answer = await answer_to(ann.says("@party_bot slow", group), group, over=False)
        await until(lambda: "word" in answer.text)
        supergroup = server.upgrade(group)
        server.tell_upgrade(group, supergroup)
        moved = await first_answer(supergroup)
        await until(lambda: "Regenerate" in moved.buttons)
    assert moved.text.count("word") == 60
    assert len(supergroup.answers) == 1


@pytest.mark.parametrize("told", ["old", "new"])
async def test_one_service_message_before_a_crash_is_enough(server: TelegramServer, tmp_path: Path, told: str) -> None:
    ann, group, storage = server.person(), server.small_group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        first = await answer_to(ann.says("@party_bot fibonacci", group), group)
        supergroup = server.upgrade(group)
        server.tell_upgrade(group, supergroup, old=told == "old", new=told == "new")
        await until(lambda: not server.world.updates)
    async with party(server, tmp_path, storage=storage):
        server.tell_upgrade(group, supergroup, old=told == "new", new=told == "old")
        ann.says("/regenerate@party_bot", supergroup)
        again = await until(lambda: next((each for each in supergroup.answers if each.entities("pre")), None))
        await until(lambda: "Regenerate" in again.buttons)
        ann.presses(first, "Regenerate", group)
        await until(lambda: sum(bool(each.entities("pre")) for each in supergroup.answers) == 2)
    assert len(supergroup.answers) == 2


async def test_without_a_service_message_the_refused_call_tells_it(server: TelegramServer, tmp_path: Path) -> None:
    ann, group, storage = server.person(), server.small_group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        question = ann.says("@party_bot fibonacci", group)
        supergroup = server.upgrade(group)
        await first_answer(supergroup)
        assert not group.answers
    async with party(server, tmp_path, storage=storage):
        ann.says("/regenerate@party_bot", supergroup)
        await until(lambda: sum(bool(each.entities("pre")) for each in supergroup.answers) == 2)
    assert question.id not in [each.id for each in supergroup.answers]


async def test_an_unfinished_answer_is_finished_there_by_the_next_process(
    server: TelegramServer, tmp_path: Path
) -> None:
    ann, group, storage = server.person(), server.small_group(), MemoryStorage()
    line = SLOW | {"answer": "word " * 200}
    async with party(server, tmp_path, line, storage=storage):
        answer = await answer_to(ann.says("@party_bot slow", group), group, over=False)
        await until(lambda: "word" in answer.text)
    supergroup = server.upgrade(group)
    server.tell_upgrade(group, supergroup, old=False)
    async with party(server, tmp_path, line | {"tokens_per_s": 2000}, storage=storage):
        moved = await first_answer(supergroup)
        await until(lambda: "Regenerate" in moved.buttons)
    assert moved.text.count("word") == 200
    assert len(supergroup.answers) == 1


async def test_messages_with_the_same_number_are_not_mistaken(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.small_group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        supergroup = server.upgrade(group)
        server.tell_upgrade(group, supergroup)
        supergroup.numbered = answer.id - 2
        notice = await answer_to(ann.says("/temperature@party_bot 0.4", supergroup), supergroup)
        assert notice.id == answer.id
        said = await answer_to(ann.says("/continue@party_bot", supergroup, reply_to=notice), supergroup)
    assert said.text == wording.nothing_to_continue()


@pytest.mark.parametrize("listed", ["old", "new"])
async def test_who_was_let_in_is_let_in_under_either_id(server: TelegramServer, tmp_path: Path, listed: str) -> None:
    ann, group = server.person(), server.small_group()
    supergroup = server.upgrade(group)
    access = Access(
        allowed_chats=[f"telegram:{group.id if listed == 'old' else supergroup.id}"],
        strangers="refuse",
    )
    async with party(server, tmp_path, access=access):
        server.tell_upgrade(group, supergroup)
        assert (await answer_to(ann.says("@party_bot hello", supergroup), supergroup)).text.startswith("hello")


async def test_who_writes_at_once_after_the_move_goes_on(server: TelegramServer, tmp_path: Path) -> None:
    """The service messages and the first message after them come in one batch."""
    ann, group, storage = server.person(), server.small_group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        await answer_to(ann.says("@party_bot fibonacci", group), group)
        supergroup = server.upgrade(group)
        server.tell_upgrade(group, supergroup)
        again = ann.says("/regenerate@party_bot", supergroup)
        answer = await answer_to(again, supergroup)
    assert answer.entities("pre")
