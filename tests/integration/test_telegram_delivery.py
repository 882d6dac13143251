"""Answers over a bad line and within flood limits: whole, once, and without a penalty in steady state."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import telegram, until
from tests.servers.telegram_world import Chat, Faults, Rules

pytestmark = pytest.mark.timeout(120)

LANGUAGES = ("python", "rust", "go", "java", "cpp", "js", "sql", "bash", "ruby", "lua", "html", "css")


def long_answer() -> tuple[str, dict[str, str]]:
    """40 kB with a block of each language, and the code of each."""
    parts, blocks = [], {}
    for number, language in enumerate(LANGUAGES):
        prose = " ".join(f"p{number}w{n}" for n in range(290))
        code = "\n".join(f"{language}_{n} = {n * number}  # 🎉 строка" for n in range(40))
        blocks[language] = code
        parts.append(f"Part {number} in **bold** words: {prose}\n\n```{language}\n{code}\n```")
    return "\n\n".join(parts), blocks


def shown_code(chat: Chat) -> dict[str, str]:
    """The lines of all blocks, by language, in the order of the messages."""
    found: dict[str, list[str]] = {}
    for message in chat.answers:
        for code, entity in message.entities("pre"):
            found.setdefault(entity["language"], []).append(code)
    return {language: "\n".join(pieces) for language, pieces in found.items()}


async def test_40_kb_with_12_blocks_arrive_whole_over_a_bad_line(tmp_path: Path) -> None:
    answer, blocks = long_answer()
    assert len(answer.encode()) > 40_000
    faults = Faults(penalty=0.05, penalty_s=1, lost_before=0.01, lost_after=0.01)
    line = {"match": "everything", "answer": answer, "tokens_per_s": 1500}
    async with telegram(faults=faults, seed=3) as server, party(server, tmp_path, line, private_interval_s=0.05):
        ann = server.person()
        ann.says("everything")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
        await until(lambda: {"answer.md"} <= set(ann.private.files))
    assert ann.private.penalties > 0
    assert ann.private.calls_in_ban == 0
    assert shown_code(ann.private) == blocks
    words = re.findall(r"p\d+w\d+", "\n".join(message.text for message in ann.private.answers))
    assert words == re.findall(r"p\d+w\d+", answer)
    assert ann.private.files["answer.md"].decode() == answer


async def test_hundreds_of_styled_words_keep_their_style(tmp_path: Path) -> None:
    answer = " ".join(f"`code{n}`" for n in range(350)) + "\n\n```py\nx = 1\n```"
    line = {"match": "styles", "answer": answer}
    async with telegram() as server, party(server, tmp_path, line):
        ann = server.person()
        ann.says("styles")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
    assert [code for each in ann.private.answers for code, _ in each.entities("code")] == [
        f"code{n}" for n in range(350)
    ]
    assert shown_code(ann.private) == {"py": "x = 1"}


@pytest.mark.parametrize("seed", range(8))
async def test_a_lost_connection_makes_no_second_message(tmp_path: Path, seed: int) -> None:
    faults = Faults(lost_before=0.2, lost_after=0.3)
    async with telegram(faults=faults, seed=seed) as server, party(server, tmp_path):
        ann = server.person()
        answer = await answer_to(ann.says("fibonacci"), ann.private)
        await until(lambda: "Regenerate" in answer.buttons)
    assert len(ann.private.answers) == 1


async def test_four_people_in_a_group_get_their_answers_without_a_penalty(tmp_path: Path) -> None:
    """Twenty calls a minute, scaled down: twenty in 3 s."""
    rules = Rules(group_calls=20, group_window_s=3.0)
    line = {"match": "slow", "answer": "word " * 200, "tokens_per_s": 40}
    async with telegram(rules) as server, party(server, tmp_path, line, group_interval_s=0.155):
        group = server.group()
        people = [server.person(f"Person {n}", n) for n in range(1, 5)]
        questions = [person.says(f"@party_bot slow {person.user['id']}", group) for person in people]
        answers = await asyncio.gather(*(answer_to(question, group) for question in questions))
        await until(lambda: all("Regenerate" in answer.buttons for answer in answers))
    assert [answer.text.count("word") for answer in answers] == [200] * 4
    assert all(len(answer.history) >= 2 for answer in answers)
    assert group.penalties == 0


async def test_topics_of_a_group_share_its_limit(tmp_path: Path) -> None:
    rules = Rules(group_calls=20, group_window_s=3.0)
    line = {"match": "slow", "answer": "word " * 100, "tokens_per_s": 50}
    async with telegram(rules) as server, party(server, tmp_path, line, group_interval_s=0.155):
        forum = server.group("Forum", forum=True, topics=[7, 9])
        people = [server.person(f"Person {n}", n) for n in (1, 2)]
        for person, topic in zip(people, (7, 9), strict=True):
            person.says("@party_bot slow", forum, message_thread_id=topic, is_topic_message=True)
        await until(lambda: sum("Regenerate" in answer.buttons for answer in forum.answers) == 2)
    assert {answer.content["message_thread_id"] for answer in forum.answers} == {7, 9}
    assert forum.penalties == 0


async def test_a_penalty_in_one_chat_is_no_other_chats(tmp_path: Path) -> None:
    async with telegram() as server, party(server, tmp_path):
        ann, bob = server.person("Ann", 1), server.person("Bob", 2)
        ann.private.banned_until = float("inf")
        server.world.rules.ban_growth = 0.0
        ann.says("hello")
        assert (await answer_to(bob.says("hello"), bob.private)).text.startswith("hello")
        assert not ann.private.answers
