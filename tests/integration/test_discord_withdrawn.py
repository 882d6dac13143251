"""Words that people delete or edit on Discord reach nobody else by a reply or a branch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bots.conversation.prompt import UNSEEN, UNSEEN_ANSWER, UNSEEN_QUOTATION
from bots.ports import StorageError
from inference.api import ChatRequest
from inference.serving.service import LocalInference
from tests.integration.discord_parts import Party, party
from tests.servers.discord_people import Person
from tests.servers.discord_world import now

SECRET = {"match": "4711", "answer": "Noted."}


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


async def noted(p: Party, *said: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ann's messages, and the bot's answer when a reply to it is known to be one."""
    questions = [await p.ann.says(p.room, text) for text in said]
    answer = await p.answer()
    while await p.storage.answer_at(f"discord:{p.room.id}", answer["id"]) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return questions, answer


async def eve_asks(p: Party, to: dict[str, Any]) -> Person:
    eve, count = p.discord.person("Eve"), len(p.answers())
    await eve.says(p.room, "what was it?", to=to)
    await p.discord.until(lambda: len(p.answers()) > count)
    await p.answer()
    return eve


@pytest.mark.parametrize("said", [["@bot it is 4711"], ["@bot it is 4711", "keep that"]], ids=["alone", "of a burst"])
async def test_a_deleted_question_is_not_told_to_who_replies(
    tmp_path: Path, prompts: list[list[str]], said: Sequence[str]
) -> None:
    async with party(tmp_path, SECRET, together_s=0.3 if len(said) > 1 else 0.0) as p:
        questions, answer = await noted(p, *said)
        await p.discord.delete(p.room, questions[0]["id"])
        await eve_asks(p, to=answer)
        assert prompts[-1] == [UNSEEN, "Noted.", "what was it?"]
        await p.ann.says(p.room, "and mine?", to=answer)
        await p.discord.until(lambda: len(prompts) == 3)
        assert "4711" in prompts[-1][0], "whoever wrote it goes on with it"


async def test_purged_messages_leave_the_conversations_that_branched_from_them(
    tmp_path: Path, prompts: list[list[str]]
) -> None:
    async with party(tmp_path, SECRET) as p:
        _, answer = await noted(p, "@bot it is 4711")
        eve = await eve_asks(p, to=answer)
        assert prompts[-1][:2] == ["it is 4711", "Noted."], "as long as everybody can see it"
        await p.discord.purge(p.room)
        await eve.says(p.room, "@bot go on")
        await p.answer()
        assert prompts[-1] == [UNSEEN, UNSEEN_ANSWER, "what was it?", "what was it?", "go on"]


@pytest.mark.parametrize("by_a_person", [True, False])
async def test_what_was_edited_away_is_not_told(tmp_path: Path, prompts: list[list[str]], by_a_person: bool) -> None:
    """Discord tells of a link's preview in the same way, and that takes nothing away."""
    async with party(tmp_path, SECRET) as p:
        [question], answer = await noted(p, "@bot it is 4711")
        if by_a_person:
            question |= {"content": "never mind", "edited_timestamp": now()}
        await p.discord.dispatch("MESSAGE_UPDATE", p.discord.delivered(p.room, question))
        await eve_asks(p, to=answer)
        assert prompts[-1][0] == (UNSEEN if by_a_person else "it is 4711")


@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), RuntimeError("unforeseen")], ids=["documented", "unexpected"]
)
async def test_a_storage_that_fails_to_hide_something_costs_nobody_an_answer(
    tmp_path: Path, prompts: list[list[str]], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with party(tmp_path, SECRET) as p:
        questions, answer = await noted(p, "@bot it is 4711")
        failed = asyncio.Event()

        async def fails(chats: Sequence[str], message_ids: Sequence[str]) -> None:
            failed.set()
            raise error

        monkeypatch.setattr(p.storage, "hide", fails)
        await p.discord.delete(p.room, questions[0]["id"])
        await failed.wait()
        await eve_asks(p, to=answer)
        assert prompts[-1][-1] == "what was it?"


@pytest.mark.parametrize("is_forwarded", [False, True], ids=["quoted", "forwarded"])
async def test_what_a_question_quotes_is_told_to_its_author_alone(
    tmp_path: Path, prompts: list[list[str]], is_forwarded: bool
) -> None:
    """Whoever wrote it may have deleted it since, perhaps while nobody told the bot."""
    async with party(tmp_path, SECRET) as p:
        said = await p.discord.person("Bob").says(p.room, "It is 4711.\nKeep it.")
        if is_forwarded:
            said = await p.ann.forwards(p.room, said, p.room)
        await p.ann.says(p.room, "@bot explain", to=said)
        answer = await p.answer()
        while await p.storage.answer_at(f"discord:{p.room.id}", answer["id"]) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert "4711" in prompts[-1][0]
        await eve_asks(p, to=answer)
        assert "4711" not in prompts[-1][0]
        assert "explain" in prompts[-1][0]
        assert UNSEEN_QUOTATION in prompts[-1][0]
        await p.ann.says(p.room, "and for me?", to=answer)
        await p.discord.until(lambda: len(prompts) == 3)
        assert "4711" in prompts[-1][0]
