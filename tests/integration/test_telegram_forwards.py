"""What is forwarded with a comment: the app sends the comment as a message of its own, and then what it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.storage.memory.storage import MemoryStorage
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_world import Chat, Message

pytestmark = pytest.mark.timeout(30)
ORIGIN = {"type": "hidden_user", "date": 1, "sender_user_name": "Somebody"}


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def test_a_comment_and_what_is_forwarded_are_one_question(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        comment = ann.says("What does this mean?")
        ann.says("Carpe diem", forward_origin=ORIGIN)
        ann.says("Memento mori", forward_origin=ORIGIN)
        answer = await until(lambda: _whole(ann.private, "Memento mori"))
        assert (await answer_to(ann.says("thanks"), ann.private)).text.startswith("thanks")
    assert answer.content["reply_to_message"]["message_id"] == comment.id
    assert len(ann.private.answers) == 2
    assert answer.text.startswith("What does this mean?")
    assert answer.text.index("Carpe diem") < answer.text.index("Memento mori")
    questions = [turn for turn in storage._turns.values() if turn.role == "user" and "mean" in turn.text]
    assert questions[-1].text == "What does this mean?\n\n> Carpe diem\n> \n> Memento mori"


async def test_an_earlier_answer_that_is_being_written_goes_on(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    line = {"match": "slow", "answer": "word " * 60, "tokens_per_s": 40}
    async with party(server, tmp_path, line, {"match": "mean", "answer": "It means that."}):
        earlier = ann.says("slow")
        await until(lambda: any("word" in each.text for each in ann.private.answers))
        ann.says("What does this mean?")
        ann.says("Carpe diem", forward_origin=ORIGIN)
        whole = await answer_to(earlier, ann.private)
    assert whole.text.count("word") == 60


async def test_a_crash_makes_no_two_answers_of_it(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    slow = {"match": "Carpe", "answer": "word " * 3000, "tokens_per_s": 30}
    async with party(server, tmp_path, slow, storage=storage):
        ann.says("What does this mean?")
        ann.says("Carpe diem", forward_origin=ORIGIN)
        await until(lambda: any("word" in each.text for each in ann.private.answers))
    async with party(server, tmp_path, {"match": "Carpe", "answer": "done"}, storage=storage):
        await until(lambda: all("Stop" not in each.buttons for each in ann.private.answers))
        await until(lambda: storage._answered == storage._received.keys())
    assert len(ann.private.answers) == 1


async def test_what_is_forwarded_later_is_a_question_of_its_own(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        first = await answer_to(ann.says("/help"), ann.private)
        second = await answer_to(ann.says("Carpe diem", forward_origin=ORIGIN), ann.private)
    assert second is not first
    assert second.text.startswith("Carpe diem")


def _whole(chat: Chat, words: str) -> Message | None:
    found = (each for each in chat.answers if words in each.text and "Stop" not in each.buttons)
    return next(found, None)
