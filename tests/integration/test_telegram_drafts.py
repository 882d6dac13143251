"""Answers that grow as drafts: what people see of them, and what stays."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.storage.memory.storage import MemoryStorage
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_world import Faults

pytestmark = pytest.mark.timeout(30)
SLOW = {"match": "slow", "answer": "word " * 100, "tokens_per_s": 100}


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def test_an_answer_grows_as_one_draft_and_becomes_one_message(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path, SLOW, drafts=True):
        question = ann.says("slow")
        answer = await answer_to(question, ann.private)
        ann.presses(answer, "Regenerate")
        await until(lambda: len(ann.private.answers) == 2)
    numbers = [number for number, _ in ann.private.drafted]
    texts = [text for number, text in ann.private.drafted if number == numbers[0]]
    assert len(texts) >= 2
    assert all(len(earlier) <= len(later) for earlier, later in pairwise(texts[1:]))
    assert answer.text.count("word") == 100
    assert answer.history == [answer.text]
    assert len(set(numbers)) == 2
    assert ann.private.drafts == {}


async def test_stop_ends_a_draft_and_a_long_answer_is_several_messages(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    words = " ".join(f"word{n}" for n in range(1500))
    long = {"match": "count", "answer": words, "tokens_per_s": 1500}
    async with party(server, tmp_path, long, SLOW | {"answer": "word " * 3000}, drafts=True):
        question = ann.says("slow")
        await until(lambda: any("word" in text for _, text in ann.private.drafted))
        await answer_to(ann.says("/stop"), ann.private)
        stopped = await answer_to(question, ann.private)
        assert list(stopped.buttons) == ["Continue", "Regenerate"]
        before = len(ann.private.answers)
        ann.says("count")
        await until(lambda: "Regenerate" in ann.private.answers[-1].buttons and len(ann.private.answers) > before)
    texts = [message.text for message in ann.private.answers[before:]]
    assert " ".join(texts).split()[:1500] == words.split()
    assert all(len(message.history) == 1 for message in ann.private.answers[before:])


@pytest.mark.parametrize("knows", [True, False])
async def test_a_refused_draft_is_one_line_and_the_answer_comes_by_edits(
    server: TelegramServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, knows: bool
) -> None:
    ann = server.person()
    server.world.takes_drafts, ann.private.takes_drafts = knows, False
    with caplog.at_level(logging.WARNING):
        async with party(server, tmp_path, SLOW, drafts=True):
            answer = await answer_to(ann.says("slow"), ann.private)
            await answer_to(ann.says("slow again"), ann.private)
    assert len(answer.history) > 3
    assert answer.text.count("word") == 100
    lines = [record for record in caplog.records if "no drafts" in record.message]
    assert len(lines) == (2 if knows else 1), "a server without drafts is not asked again"
    assert server.methods.count("sendMessageDraft") == len(lines)


async def test_groups_and_notices_have_no_drafts(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.group()
    async with party(server, tmp_path, SLOW, drafts=True):
        await answer_to(ann.says("@party_bot slow", group), group)
        await answer_to(ann.says("/temperature 0.4"), ann.private)
        panel = await answer_to(ann.says("/settings"), ann.private)
        ann.presses(panel, "precise")
        await until(lambda: "• precise •" in panel.buttons)
    assert "sendMessageDraft" not in server.methods


@pytest.mark.parametrize("drafts", [True, False])
async def test_what_a_dead_process_was_drafting_is_sent_once(
    server: TelegramServer, tmp_path: Path, drafts: bool
) -> None:
    """Also where the operator has switched drafts off meanwhile."""
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, SLOW, storage=storage, drafts=True):
        question = ann.says("slow")
        await until(lambda: any("word word" in text for _, text in ann.private.drafted))
        ann.private.forbidden = "Forbidden: a process that is killed says no last words"
    ann.private.forbidden = ""
    assert not ann.private.answers
    async with party(server, tmp_path, SLOW | {"tokens_per_s": 2000}, storage=storage, drafts=drafts):
        await until(lambda: any("Regenerate" in answer.buttons for answer in ann.private.answers))
    [answer] = ann.private.answers
    assert answer.text.count("word") == 100
    assert not drafts or answer.content["reply_to_message"]["message_id"] == question.id


@pytest.mark.parametrize("seed", range(6))
async def test_a_lost_connection_makes_no_second_message(tmp_path: Path, seed: int) -> None:
    faults = Faults(lost_before=0.2, lost_after=0.3)
    async with telegram(faults=faults, seed=seed) as server, party(server, tmp_path, drafts=True):
        ann = server.person()
        answer = await answer_to(ann.says("fibonacci"), ann.private)
        await until(lambda: "Regenerate" in answer.buttons)
    assert len(ann.private.answers) == 1
