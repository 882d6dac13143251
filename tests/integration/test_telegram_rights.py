"""Where the bot may not write, or not at once; and those who write without being persons: channels and their admins."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.memory.storage import MemoryStorage
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(40)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def test_slow_mode_delays_an_answer_and_loses_nothing(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    group.slow_s = 1.0
    words = " ".join(f"word{n}" for n in range(1500))
    async with party(server, tmp_path, {"match": "count", "answer": words}):
        ann.says("@party_bot count", group)
        await until(lambda: "word" in "".join(each.text for each in group.answers))
        assert (await answer_to(bob.says("hello"), bob.private)).text.startswith("hello")
        await until(lambda: any("Regenerate" in each.buttons for each in group.answers))
    texts = [message.text for message in group.answers]
    assert " ".join(texts).split()[:1500] == words.split()
    assert group.penalties > 0
    assert len(texts) > 2


@pytest.mark.parametrize(
    "refusal",
    [
        "Bad Request: not enough rights to send text messages to the chat",
        "Bad Request: CHAT_WRITE_FORBIDDEN",
        "Bad Request: TOPIC_CLOSED",
        "Forbidden: bot was kicked from the supergroup chat",
        "Forbidden: bot is not a member of the supergroup chat",
        "Forbidden: bot was blocked by the user",
    ],
)
async def test_who_loses_the_right_to_write_frees_the_model(
    server: TelegramServer, tmp_path: Path, refusal: str
) -> None:
    """Before an answer and in the middle of one; the next question after it is back is answered as ever."""
    ann, group, storage = server.person(), server.group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        answer = await answer_to(ann.says("@party_bot slow", group), group, over=False)
        await until(lambda: "word" in answer.text)
        group.forbidden = refusal
        # One person's questions in one chat wait for each other: these two are over when the first has been given up.
        ann.says("@party_bot slow again", group)
        await until(lambda: len(storage._answered) == 2)
        group.forbidden = ""
        assert (await answer_to(ann.says("@party_bot back", group), group)).text.startswith("back")
    async with party(server, tmp_path, storage=storage):
        await answer_to(ann.says("@party_bot once more", group), group)
    assert sum(answer.text.startswith("word") for answer in group.answers) == 1


async def test_a_press_under_an_answer_where_nothing_may_be_written_is_answered(
    server: TelegramServer, tmp_path: Path
) -> None:
    ann, group = server.person(), server.group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        group.forbidden = "Bad Request: need administrator rights in the channel chat"
        ann.presses(answer, "Regenerate", group)
        await until(lambda: server.world.toasts)
        group.forbidden = ""
        assert (await answer_to(ann.says("@party_bot back", group), group)).text.startswith("back")


async def test_in_a_channel_commands_and_mentions_are_answered(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, channel = server.person("Ann", 1), server.person("Bob", 2), server.channel()
    channel.admins = {1}
    async with party(server, tmp_path):
        ann.says("News for everybody", channel)
        answer = await answer_to(ann.says("/code@party_bot fibonacci", channel), channel)
        assert answer.entities("pre")
        bob.presses(answer, "Regenerate", channel)
        await until(lambda: server.world.toasts)
        assert "somebody else" in server.world.toasts[0][1]
        ann.presses(answer, "Regenerate", channel)
        await until(lambda: len(channel.answers) == 2)


async def test_a_comment_on_a_post_is_about_the_post(server: TelegramServer, tmp_path: Path) -> None:
    bob, channel, discussion = server.person("Bob", 2), server.channel("News"), server.group("Discussion")
    telegrams_own = server.person("Telegram", 777000)
    copied = {"is_automatic_forward": True, "sender_chat": channel.view()}
    async with party(server, tmp_path):
        post = telegrams_own.says("@party_bot The moon is full.", discussion, **copied)
        in_thread = {"message_thread_id": post.id}
        comment = bob.says("@party_bot is that so?", discussion, reply_to=post, **in_thread)
        answer = await answer_to(comment, discussion)
        again = await answer_to(bob.says("and why?", discussion, reply_to=answer, **in_thread), discussion)
    assert "The moon is full." in answer.text
    assert again.text.startswith("and why?")
    assert "message_thread_id" not in answer.content
    assert len(discussion.answers) == 2


async def test_an_anonymous_admin_has_a_conversation_and_can_stop_it(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    group.admins = {1}
    async with party(server, tmp_path):
        answer = await answer_to(ann.says_as(group, "@party_bot slow"), group, over=False)
        await until(lambda: "Stop" in answer.buttons)
        bob.presses(answer, "Stop", group)
        await until(lambda: server.world.toasts)
        assert "somebody else" in server.world.toasts[0][1]
        ann.presses(answer, "Stop", group)
        await until(lambda: list(answer.buttons) == ["Continue", "Regenerate"])
        panel = await answer_to(ann.says_as(group, "/settings@party_bot"), group)
        bob.presses(panel, "precise", group)
        await until(lambda: len(server.world.toasts) == 3)
        assert "• precise •" not in panel.buttons
        ann.presses(panel, "precise", group)
        await until(lambda: "• precise •" in panel.buttons)


@pytest.mark.parametrize(
    "field",
    [
        {"forward_origin": {"type": "user", "date": 1, "sender_user": {"id": 2, "is_bot": False, "first_name": "Eve"}}},
        {"via_bot": {"id": 3, "is_bot": True, "first_name": "Cats", "username": "cats_bot"}},
    ],
    ids=["forwarded", "offered"],
)
async def test_a_command_of_somebody_else_is_none(
    server: TelegramServer, tmp_path: Path, field: dict[str, Any]
) -> None:
    ann, group = server.person("Ann", 1), server.group()
    storage = MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        await answer_to(ann.says("/temperature 0.3"), ann.private)
        answer = await answer_to(ann.says("/privacy erase now", **field), ann.private)
        assert answer.text.startswith("/privacy erase now")
        assert answer.entities("blockquote")
        ann.says("/privacy@party_bot erase now", group, **field)
        await answer_to(ann.says("/temperature@party_bot 0.4", group), group)
        own = {"type": "user", "date": 1, "sender_user": ann.user}
        assert "0.5" in (await answer_to(ann.says("/temperature 0.5", forward_origin=own), ann.private)).text
    assert len(group.answers) == 1
    assert await storage.preferences("telegram:1") == {"temperature": "0.5"}
    assert await storage.head("telegram:4711:1", "telegram:1") is not None


async def test_what_several_write_under_is_linked_to_no_account(server: TelegramServer, tmp_path: Path) -> None:
    ann, eve, group = server.person("Ann", 1), server.person("Eve", 2), server.group()
    storage = MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        await answer_to(ann.says_as(group, "@party_bot remember it"), group)
        code = re.search(r"\w{5}-\w{5}", (await answer_to(eve.says("/link"), eve.private)).text)
        assert code is not None
        for words in (f"/link@party_bot {code[0]} yes", "/link@party_bot"):
            answer = await answer_to(eve.says_as(group, words), group)
            assert answer.text.startswith("Several people write under this name")
        assert "No account is waiting" in (await answer_to(eve.says("/link yes"), eve.private)).text
    assert list(await storage.people("telegram:2")) == ["telegram:2"]


async def test_people_with_a_forwarded_or_an_emptied_message(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Somebody"}
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("what is this?", forward_origin=origin), ann.private)
        gone = ann.says("soon gone")
        gone.deleted = True
        await asyncio.sleep(0.05)
        last = await answer_to(ann.says("still there?"), ann.private)
    assert answer.text.startswith("what is this?")
    assert last.text.startswith("still there?")
    [other] = [each for each in ann.private.answers if each not in (answer, last)]
    assert "reply_to_message" not in other.content
