"""Words that people edit away on Telegram reach nobody else by a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.memory.storage import MemoryStorage
from bots.conversation.prompt import UNSEEN, UNSEEN_QUOTATION
from inference.api import ChatRequest
from inference.serving.service import LocalInference
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(30)
LINES = {"match": "4711", "answer": "Noted."}, {"match": "else", "answer": "Something."}


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the model was asked, oldest first."""
    asked: list[list[str]] = []
    stream = LocalInference.stream

    def spying(self: LocalInference, request: ChatRequest) -> Any:
        asked.append([message.content for message in request.messages])
        return stream(self, request)

    monkeypatch.setattr(LocalInference, "stream", spying)
    return asked


@pytest.mark.parametrize("is_newest", [True, False], ids=["newest", "older"])
@pytest.mark.parametrize("text", ["nothing here", "/help@party_bot", "@party_bot something else"])
async def test_a_question_that_was_edited_is_not_told_to_who_replies(
    server: TelegramServer, tmp_path: Path, prompts: list[list[str]], text: str, is_newest: bool
) -> None:
    ann, eve, group, storage = server.person("Ann", 1), server.person("Eve", 2), server.group(), MemoryStorage()
    async with party(server, tmp_path, *LINES, storage=storage):
        question = ann.says("@party_bot it is 4711", group)
        answer = await answer_to(question, group)
        count = 1
        if not is_newest:
            await answer_to(ann.says("@party_bot else", group), group)
            count += 1
        ann.edits(question, text, group)
        await until(lambda: len(storage._answered) == count + 1)
        await answer_to(eve.says("what was it?", group, reply_to=answer), group)
        asked_anew = is_newest and text.startswith("@party_bot")
        assert prompts[-1][0] == ("something else" if asked_anew else UNSEEN)
        await answer_to(ann.says("and mine?", group, reply_to=answer), group)
        assert asked_anew or "4711" in prompts[-1][0], "whoever wrote it goes on with it"


async def test_an_edit_that_changes_no_words_takes_nothing_back(
    server: TelegramServer, tmp_path: Path, prompts: list[list[str]]
) -> None:
    ann, eve, group, storage = server.person("Ann", 1), server.person("Eve", 2), server.group(), MemoryStorage()
    async with party(server, tmp_path, *LINES, storage=storage):
        question = ann.says("@party_bot it is 4711", group)
        answer = await answer_to(question, group)
        ann.edits(question, "@party_bot it is 4711", group)
        await until(lambda: len(storage._answered) == 2)
        await answer_to(eve.says("what was it?", group, reply_to=answer), group)
        assert prompts[-1][0] == "it is 4711"


async def test_what_was_edited_before_it_was_answered_is_hidden_too(
    server: TelegramServer, tmp_path: Path, prompts: list[list[str]]
) -> None:
    """Also by the start after it: what is asked again in place of an answer is not hidden by its own edit."""
    ann, eve, group, storage = server.person("Ann", 1), server.person("Eve", 2), server.group(), MemoryStorage()
    async with party(server, tmp_path, *LINES, storage=storage):
        question = ann.says("@party_bot it is 4711\n" * 300, group)  # may be a part of a longer one, so it waits
        ann.edits(question, "nothing here", group)
        answer = await answer_to(question, group)
        await answer_to(eve.says("what was it?", group, reply_to=answer), group)
        assert prompts[-1][0] == UNSEEN


async def test_what_a_question_quotes_is_told_to_its_author_alone(
    server: TelegramServer, tmp_path: Path, prompts: list[list[str]]
) -> None:
    """Telegram tells no bot that the quoted message was deleted since."""
    ann, eve, bob = server.person("Ann", 1), server.person("Eve", 2), server.person("Bob", 3)
    group = server.group()
    async with party(server, tmp_path, *LINES):
        said = bob.says("It is 4711.\nKeep it.", group)
        answer = await answer_to(ann.says("@party_bot explain", group, reply_to=said), group)
        assert "4711" in prompts[-1][0]
        await answer_to(eve.says("what was it?", group, reply_to=answer), group)
        assert prompts[-1][0] == f"explain\n\n{UNSEEN_QUOTATION}"
        await answer_to(ann.says("and for me?", group, reply_to=answer), group)
        assert "4711" in prompts[-1][0]
