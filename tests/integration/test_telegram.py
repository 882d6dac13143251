"""Conversations on Telegram: each test reads as what people see there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.memory.storage import MemoryStorage
from bots.access.allow_list import Access
from bots.ports import StorageError
from inference.api import ChatRequest
from inference.engines.scripted import ScriptedEngine
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until
from tests.servers.telegram_world import ME

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


async def test_a_question_is_answered_in_one_message_that_grows(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person("Ann")
    async with party(server, tmp_path) as line:
        assert line == "Telegram as @party_bot"
        question = ann.says("/code fibonacci in Python")
        answer = await answer_to(question, ann.private)
    [(code, entity)] = answer.entities("pre")
    assert (code, entity["language"]) == ("print(1, 1, 2, 3)", "python")
    assert answer.text.startswith("print(1, 1, 2, 3)\n\nDone.")
    assert "scripted" in answer.entities("italic")[-1][0]
    assert list(answer.buttons) == ["Regenerate"]
    assert len(ann.private.answers) == 1


async def test_it_can_be_stopped_and_goes_on_in_the_same_message(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("a slow one"), ann.private, over=False)
        await until(lambda: "word word" in answer.text and "Stop" in answer.buttons)
        ann.presses(answer, "Stop")
        await until(lambda: list(answer.buttons) == ["Continue", "Regenerate"])
        assert "stopped" in answer.text
        assert server.world.toasts[-1][1] == "Stopped."
        length = len(answer.text)
        ann.presses(answer, "Continue")
        await until(lambda: len(answer.text) > length and "Stop" in answer.buttons)
    assert len(ann.private.answers) == 1


async def test_what_no_earlier_process_has_sent_is_not_looked_for(server: TelegramServer, tmp_path: Path) -> None:
    """A look takes a call for each number that it might have, and whatever has that number may be taken for it."""
    storage, ann = MemoryStorage(), server.person()
    line = {"match": "slow", "answer": "word " * 1_500, "tokens_per_s": 400}
    async with party(server, tmp_path, line, storage=storage):
        answer = await answer_to(ann.says("slow"), ann.private, over=False)
        await until(lambda: "word word" in answer.text and "Stop" in answer.buttons)
        ann.presses(answer, "Stop")
        await until(lambda: list(answer.buttons) == ["Continue", "Regenerate"])
    async with party(server, tmp_path, line, storage=storage):
        ann.presses(answer, "Continue")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers[1:]))
    assert sum(each.text.count("word") for each in ann.private.answers) == 1_500
    assert "editMessageReplyMarkup" not in server.methods


async def test_somebody_else_cannot_stop_it(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot slow", group), group, over=False)
        await until(lambda: "Stop" in answer.buttons)
        bob.presses(answer, "Stop", group)
        await until(lambda: server.world.toasts)
        assert "somebody else" in server.world.toasts[0][1]
        assert "Stop" in answer.buttons


async def test_regenerate_writes_a_new_answer_under_the_question(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        question = ann.says("fibonacci")
        first = await answer_to(question, ann.private)
        ann.presses(first, "Regenerate")
        second = await until(lambda: next((each for each in ann.private.answers if each is not first), None))
        await until(lambda: "Regenerate" in second.buttons)
    assert second.content["reply_to_message"]["message_id"] == question.id
    assert second.entities("pre")


async def test_thinking_is_in_an_expandable_quote(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("think about it"), ann.private)
    [(quote, _)] = answer.entities("expandable_blockquote")
    assert quote.endswith("Let me see.")
    assert quote.startswith("Thought")
    assert "Forty two." in answer.text.removeprefix(quote)


async def test_a_long_answer_is_whole_in_several_messages(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    words = " ".join(f"word{n}" for n in range(1500))
    async with party(server, tmp_path, {"match": "count", "answer": words}):
        ann.says("count")
        await until(lambda: any("Regenerate" in each.buttons for each in ann.private.answers))
    texts = [message.text for message in ann.private.answers]
    assert " ".join(texts).split()[:1500] == words.split()
    assert len(texts) > 2


async def test_a_photo_is_described_in_words_that_the_command_may_begin(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        assert (await answer_to(ann.shows(b"12345"), ann.private)).text.startswith("a picture of 5 bytes")
        assert (await answer_to(ann.shows(b"123", "/caption a drawing of"), ann.private)).text.startswith(
            "a drawing of 3 bytes"
        )
        asked = await answer_to(ann.shows(b"1234", "What is it worth?"), ann.private)
        assert "a picture of 4 bytes" in asked.text
        document = {"file_id": "photo0", "file_unique_id": "d", "mime_type": "image/png", "file_name": "../x.png"}
        assert "5 bytes" in (await answer_to(ann.says(document=document), ann.private)).text


async def test_caption_in_reply_to_somebodys_picture(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        picture = bob.shows(b"1234567", chat=group)
        answer = await answer_to(ann.says("/caption@party_bot", group, reply_to=picture), group)
    assert answer.text.startswith("a picture of 7 bytes")
    assert len(group.answers) == 1


async def test_an_album_is_one_request(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        first = ann.shows(b"1", media_group_id="m")
        ann.shows(b"22", media_group_id="m")
        ann.shows(b"333", media_group_id="m")
        answer = await answer_to(first, ann.private)
    assert [line for line in answer.text.splitlines() if "bytes" in line] == [
        f"{n}. a picture of {n} bytes" for n in (1, 2, 3)
    ]
    assert len(ann.private.answers) == 1


async def test_one_mention_means_the_whole_album(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.group()
    async with party(server, tmp_path):
        first = ann.shows(b"1", chat=group, media_group_id="m")
        ann.shows(b"22", "@party_bot", chat=group, media_group_id="m")
        answer = await answer_to(first, group)
        ann.shows(b"1", "nobody is meant", chat=group, media_group_id="n")
        await answer_to(ann.says("@party_bot bye", group), group)
    assert "1. a picture of 1 bytes" in answer.text
    assert "2. a picture of 2 bytes" in answer.text
    assert len(group.answers) == 2


def questions(storage: MemoryStorage) -> list[str]:
    """What people asked, in the order in which it was kept."""
    return [turn.text for turn in storage._turns.values() if turn.role == "user"]


async def test_a_text_that_the_app_divided_is_one_question(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    parts = "first line\n" * 300 + "end", "second" * 682 + "seco", "nd\nWhat does this do?"
    assert [len(part) for part in parts[:2]] == [3303, 4096]
    async with party(server, tmp_path, {"match": "What does", "answer": "It repeats."}, storage=storage):
        first = ann.says(parts[0])
        for part in parts[1:]:
            ann.says(part)
        answer = await answer_to(first, ann.private)
        await until(lambda: len(storage._answered) == 3)
    assert answer.text.startswith("It repeats.")
    assert len(ann.private.answers) == 1
    assert questions(storage) == [f"{parts[0]}\n{parts[1]}{parts[2]}"]


async def test_one_mention_means_all_of_a_divided_text(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group, storage = server.person("Ann", 1), server.person("Bob", 2), server.group(), MemoryStorage()
    long = "line\n" * 700 + "end"
    async with party(server, tmp_path, {"match": "review", "answer": "Fine."}, storage=storage):
        nobody_meant = bob.says(long, group)
        bob.says("and this is the rest", group)
        first = ann.says(f"@party_bot review this:\n{long}", group)
        bob.says("not a part of it", group)
        ann.says("the rest", group)
        await answer_to(first, group)
        last = ann.says(long, group)
        ann.says("@party_bot review that", group)
        await answer_to(last, group)
        await until(lambda: len(storage._answered) == 7)
    assert questions(storage) == [f"review this:\n{long}\nthe rest", f"{long}\nreview that"]
    assert len(group.answers) == 2
    assert not any(each.content["reply_to_message"]["message_id"] == nobody_meant.id for each in group.answers)


async def test_what_a_divided_text_replies_to_stands_behind_it_once(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group, storage = server.person("Ann", 1), server.person("Bob", 2), server.group(), MemoryStorage()
    long = "line\n" * 700 + "end"
    async with party(server, tmp_path, {"match": "line", "answer": "Fine."}, storage=storage):
        said = bob.says("The moon is made of cheese.", group)
        first = ann.says(f"@party_bot {long}", group, reply_to=said)
        ann.says("the rest", group, reply_to=said)
        await answer_to(first, group)
    assert questions(storage) == [f"{long}\nthe rest\n\n> The moon is made of cheese."]


async def test_a_divided_text_is_one_question_after_a_restart(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    slow = {"match": "the rest", "answer": "word " * 200, "tokens_per_s": 60}
    async with party(server, tmp_path, slow, storage=storage):
        first = ann.says("line\n" * 700 + "end")
        ann.says("the rest")
        answer = await answer_to(first, ann.private, over=False)
        await until(lambda: "word word" in answer.text)
    async with party(server, tmp_path, slow | {"tokens_per_s": 2000}, storage=storage):
        await until(lambda: len(storage._answered) == 2)
    assert answer.text.count("word") == 200
    assert len(ann.private.answers) == len(questions(storage)) == 1


class HalfMarked(MemoryStorage):
    """Dies between the two marks that say that both parts of a request are answered."""

    async def answered(self, account: str, event_id: str) -> None:
        if self._answered:
            raise StorageError("the disk is full")
        await super().answered(account, event_id)


@pytest.mark.parametrize("album", [False, True], ids=["text", "album"])
async def test_a_request_that_is_half_marked_is_not_answered_again(
    server: TelegramServer, tmp_path: Path, album: bool
) -> None:
    ann, storage = server.person(), HalfMarked()
    async with party(server, tmp_path, {"match": "line", "answer": "Fine."}, storage=storage):
        if album:
            first, _ = ann.shows(b"1", media_group_id="m"), ann.shows(b"22", media_group_id="m")
        else:
            first, _ = ann.says("line\n" * 700 + "end"), ann.says("the rest of the line")
        await answer_to(first, ann.private)
        await until(lambda: len(storage._answered) == 1)
    rest = MemoryStorage()
    rest.__dict__.update(storage.__dict__)
    async with party(server, tmp_path, {"match": "line", "answer": "Fine."}, storage=rest):
        await until(lambda: len(rest._answered) == 2)
    assert len(ann.private.answers) == 1


async def test_the_marked_part_of_an_answer_belongs_to_the_question(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("first, second, third"), ann.private)
        quote = {"text": "second", "position": 7, "is_manual": True}
        about = await answer_to(ann.says("why?", reply_to=answer, quote=quote), ann.private)
    assert [words for words, _ in about.entities("blockquote")] == ["second"]


async def test_a_picture_that_is_gone_gets_a_sentence(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        lost = ann.shows(b"x")
        server.world.files.clear()
        assert "did not hand that picture over" in (await answer_to(lost, ann.private)).text
        huge = ann.says(photo=[{"file_id": "f", "file_unique_id": "f", "width": 1, "height": 1, "file_size": 30 << 20}])
        assert "did not hand that picture over" in (await answer_to(huge, ann.private)).text


async def test_pictures_and_buttons_outlast_a_bad_line(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    server.failures = {
        "getMe": ["drop"],
        "getUpdates": ["429", "drop"],
        "getFile": ["drop", "429"],
        "file": ["drop"],
        "answerCallbackQuery": ["drop"],
    }
    async with party(server, tmp_path):
        answer = await answer_to(ann.shows(b"12345"), ann.private)
        assert answer.text.startswith("a picture of 5 bytes")
        ann.presses(answer, "", data="answer:regenerate")
        await until(lambda: server.world.toasts)
    assert "no longer works" in server.world.toasts[0][1]
    assert not any(server.failures.values())


async def test_settings_by_command_and_by_keyboard(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        assert "0.4" in (await answer_to(ann.says("/temperature 0.4"), ann.private)).text
        panel = await answer_to(ann.says("/settings"), ann.private)
        assert "Temperature 0.4" in panel.buttons
        for label, after in (
            (_nth(panel, "+", 0), "Temperature 0.45"),
            (_nth(panel, "−", 1), "Top-p 0.85"),
            (_nth(panel, "−", 2), "Max tokens 19950"),
            ("precise", "• precise •"),
            ("hide", "• hide •"),
        ):
            ann.presses(panel, "Reset", data=label if ":" in label else panel.buttons[label])
            await until(lambda after=after: after in panel.buttons)  # type: ignore[misc]
        assert "is now 0.45" in server.world.toasts[0][1]
        ann.presses(panel, "Reset")
        await until(lambda: "Temperature 0.7" in panel.buttons)
        ann.presses(panel, "Close")
        await until(lambda: panel.deleted)


class _SlowReads(MemoryStorage):
    """Preferences take a while, as they do from a disk."""

    async def preferences(self, person: str) -> Mapping[str, str]:
        found = await super().preferences(person)
        await asyncio.sleep(0.01)
        return found


async def test_every_quick_press_is_a_step_and_a_bound_is_told(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path, storage=_SlowReads()):
        panel = await answer_to(ann.says("/settings"), ann.private)
        less, more = _nth(panel, "−", 2), _nth(panel, "+", 2)
        for _ in range(10):
            ann.presses(panel, "", data=less)
        await until(lambda: "Max tokens 19500" in panel.buttons)
        for _ in range(10):
            ann.presses(panel, "", data=more)
        await until(lambda: "Max tokens 20000" in panel.buttons)
        ann.presses(panel, "", data=more)
        await until(lambda: any("That's the most" in text for _, text in server.world.toasts))


def _nth(panel: object, label: str, row: int) -> str:
    """The data of the button with that label in that row; several have the same one."""
    rows = panel.content["reply_markup"]["inline_keyboard"]  # type: ignore[attr-defined]
    return next(str(button["callback_data"]) for button in rows[row] if button["text"] == label)


async def test_a_panel_obeys_its_owner_alone_and_no_made_up_data(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        panel = await answer_to(ann.says("/settings", group), group)
        bob.presses(panel, "Reset", group)
        await until(lambda: server.world.toasts)
        forged = panel.buttons["Reset"].replace("panel:1:", "panel:2:")
        for data in (forged, "panel:2:temperature:9:00", "answer:destroy", "", "x" * 64, "panel:::"):
            query = bob.presses(panel, "", group, data=data)
            await until(lambda query=query: query not in server.world.queries)  # type: ignore[misc]
    assert "somebody else's settings" in server.world.toasts[0][1]
    assert {text for _, text in server.world.toasts[1:]} == {""}
    assert len(panel.history) == 1


async def test_settings_and_conversation_survive_a_restart(server: TelegramServer, tmp_path: Path) -> None:
    ann, storage = server.person(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        await answer_to(ann.says("/top_p 0.5"), ann.private)
        answer = await answer_to(ann.says("fibonacci"), ann.private)
    async with party(server, tmp_path, storage=storage):
        assert "Top-p is 0.5" in (await answer_to(ann.says("/top_p"), ann.private)).text
        ann.presses(answer, "Regenerate")
        await until(lambda: sum(bool(each.entities("pre")) for each in ann.private.answers) == 2)


async def test_in_a_group_only_what_is_meant_for_the_bot(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.group()
    async with party(server, tmp_path):
        for ignored in ("hello everybody", "/wibble", "/code@other_bot x", "about @party_botany"):
            ann.says(ignored, group)
        mentioned = await answer_to(ann.says("Hey @party_bot, fibonacci 🎉", group), group)
        assert mentioned.entities("pre")
        replied = await answer_to(ann.says("and now?", group, reply_to=mentioned), group)
        assert "and now?" in replied.text
        assert (await answer_to(ann.says("/help@party_bot", group), group)).text
    assert len(group.answers) == 3


async def test_a_mention_under_somebodys_words_is_about_them(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        said = bob.says("The moon is made of cheese.", group)
        answer = await answer_to(ann.says("@party_bot is that so?", group, reply_to=said), group)
    assert "is that so?" in answer.text
    assert "made of cheese" in answer.text


async def test_in_a_topic_everything_stays_in_the_topic(server: TelegramServer, tmp_path: Path) -> None:
    ann, forum = server.person(), server.group("Forum", forum=True, topics=[7, 9])
    in_topic = {"message_thread_id": 7, "is_topic_message": True}
    begun = {"message_id": 7, "date": 1, "chat": forum.view(), "from": ME, "forum_topic_created": _TOPIC}
    async with party(server, tmp_path):
        ann.says("not for the bot", forum, reply_to_message=begun, **in_topic)
        answer = await answer_to(ann.says("@party_bot long", forum, **in_topic), forum)
        assert answer.content["message_thread_id"] == 7
        ann.presses(answer, "Regenerate", forum)
        await until(lambda: len(forum.answers) == 2)
    assert all(each.content["message_thread_id"] == 7 for each in forum.answers)


_TOPIC = {"name": "Seven", "icon_color": 1}


async def test_all_topics_of_a_forum_are_one_group_where_places_are_shared(
    server: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    stream = ScriptedEngine.generate

    def noted(self: ScriptedEngine, request: ChatRequest) -> Any:
        asked.append(request.group)
        return stream(self, request)

    monkeypatch.setattr(ScriptedEngine, "generate", noted)
    ann, forum = server.person(), server.group("Forum", forum=True, topics=[7, 9])
    async with party(server, tmp_path):
        for topic in (7, 9):
            in_topic = {"message_thread_id": topic, "is_topic_message": True}
            await answer_to(ann.says("@party_bot think", forum, **in_topic), forum)
        await answer_to(ann.says("think"), ann.private)
    assert asked == [f"telegram:{ME['id']}:{forum.id}"] * 2 + [f"telegram:{ME['id']}:{ann.private.id}"]


async def test_a_deleted_answer_stops_the_model(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("slow"), ann.private, over=False)
        answer.deleted = True
        # One person's messages in one chat wait for each other, so this is answered only when the other has ended.
        assert (await answer_to(ann.says("next"), ann.private)).text.startswith("next")


async def test_who_has_blocked_the_bot_holds_nobody_up(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob = server.person("Ann", 1), server.person("Bob", 2)
    async with party(server, tmp_path):
        await answer_to(ann.says("slow"), ann.private, over=False)
        ann.private.forbidden = "Forbidden: bot was blocked by the user"
        assert (await answer_to(bob.says("hello"), bob.private)).text.startswith("hello")
        ann.private.forbidden = ""
        assert (await answer_to(ann.says("back"), ann.private)).text.startswith("back")


async def test_nameless_people_channels_and_other_bots(server: TelegramServer, tmp_path: Path) -> None:
    group = server.group()
    nameless = server.person("", 5)
    other_bot = server.person("Robot", 6)
    other_bot.user["is_bot"] = True
    async with party(server, tmp_path):
        other_bot.says("@party_bot hello", group)
        assert (await answer_to(nameless.says("hello"), nameless.private)).text.startswith("hello")
        admin = server.person("Group", 1087968824)
        admin.user["is_bot"] = True
        as_group = await answer_to(admin.says("@party_bot hi", group, sender_chat=group.view()), group)
        assert as_group.text.startswith("hi")
    assert len(group.answers) == 1


async def test_what_cannot_be_read_gets_a_sentence(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person(), server.group()
    voice = {"file_id": "v", "file_unique_id": "v", "duration": 3}
    async with party(server, tmp_path):
        assert "a voice message" in (await answer_to(ann.says(voice=voice), ann.private)).text
        ann.says("", group, voice=voice)
        ann.says("", group, new_chat_members=[ME])
        ann.says("", pinned_message={"message_id": 1, "date": 0, "chat": ann.private.view()})
        server.happen(poll={"id": "1"})
        server.happen(message={"wibble": 1})
        assert (await answer_to(ann.says("still there?"), ann.private)).text.startswith("still there?")
    assert not group.answers
    assert len(ann.private.answers) == 2


async def test_strangers_see_what_the_operator_wants(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    access = Access(allowed_users=["telegram:1"], allowed_chats=[f"telegram:{group.id}"], strangers="refuse")
    async with party(server, tmp_path, access=access):
        assert (await answer_to(ann.says("hello"), ann.private)).text.startswith("hello")
        assert "telegram:2" in (await answer_to(bob.says("hello"), bob.private)).text
        bob.says("/settings")
        bob.shows(b"12")
        assert (await answer_to(bob.says("@party_bot hello", group), group)).text.startswith("hello")
        assert len(bob.private.answers) == 1  # told once in a minute
        assert "getFile" not in server.methods


async def test_the_commands_are_offered_in_five_languages(server: TelegramServer, tmp_path: Path) -> None:
    async with party(server, tmp_path):
        await until(lambda: len(server.world.commands) == 10)
    for language, words in (("", "Write code"), ("es", "código"), ("de", "Schreibt"), ("zh", "代码"), ("ru", "код")):
        [code] = [c for c in server.world.commands["all_private_chats", language] if c["command"] == "code"]
        assert words in code["description"]
        assert all(1 <= len(c["description"]) <= 256 for c in server.world.commands["all_private_chats", language])


async def test_a_server_that_goes_and_comes_back_loses_no_message(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob = server.person("Ann", 1), server.person("Bob", 2)
    async with party(server, tmp_path, {"match": "slow", "answer": "word " * 60, "tokens_per_s": 60}):
        question = ann.says("slow")
        answer = await answer_to(question, ann.private, over=False)
        await server.kill()
        missed = bob.says("while you were away")
        await asyncio.sleep(0.3)
        await server.start()
        assert (await answer_to(missed, bob.private)).text.startswith("while you were away")
        await answer_to(question, ann.private)
    assert answer.text.count("word") == 60
    assert len(ann.private.answers) == 1


async def test_the_bot_starts_before_telegram_can_be_reached(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    question = ann.says("early")
    await server.kill()
    async with party(server, tmp_path) as line:
        assert "not reachable yet" in line
        await server.start()
        assert (await answer_to(question, ann.private)).text.startswith("early")


async def _status_without_utf8(port: int) -> bytes:
    """The status for a secret that is no UTF-8."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /hook HTTP/1.1\r\nHost: a\r\nX-Telegram-Bot-Api-Secret-Token: \xff\xfe\r\n")
    writer.write(b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
    answer = await reader.read()
    writer.close()
    return answer.split()[1]


async def test_updates_by_webhook_once_each(server: TelegramServer, tmp_path: Path) -> None:
    ann, port = server.person(), _free_port()
    url = f"http://127.0.0.1:{port}/hook"
    async with party(server, tmp_path, webhook_url=url, webhook_port=port):
        await until(lambda: server.world.webhook.get("url") == url)
        right = server.world.webhook["secret_token"]
        question = ann.says("by webhook")
        server.world.webhook["secret_token"] = "wrong"
        await server.bring_updates()
        assert len(server.world.updates) == 1
        assert await _status_without_utf8(port) == b"403"
        server.world.webhook["secret_token"] = right
        again = list(server.world.updates)
        await server.bring_updates()
        server.world.updates = again
        await server.bring_updates()
        assert (await answer_to(question, ann.private)).text.startswith("by webhook")
        after = ann.says("one more")
        await server.bring_updates()
        await answer_to(after, ann.private)
    assert [each.text.splitlines()[0] for each in ann.private.answers] == ["by webhook", "one more"]


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_an_update_that_makes_no_sense_is_one_line_in_the_log(
    server: TelegramServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ann = server.person()
    async with party(server, tmp_path):
        ann.says("odd", quote={"text": "without a position"})
        assert (await answer_to(ann.says("hello"), ann.private)).text.startswith("hello")
    (line,) = [record for record in caplog.records if "cannot be read" in record.message]
    assert "TypeError" in line.message
    assert not any(record.exc_info for record in caplog.records if record.levelno >= logging.INFO)


async def test_the_token_is_in_no_log(server: TelegramServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ann, secret = server.person(), TOKEN.partition(":")[2]
    root = logging.getLogger()
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    root.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            async with party(server, tmp_path):
                await answer_to(ann.shows(b"12"), ann.private)
                logging.getLogger("anything").error("see %s", f"{server.address}/bot{TOKEN}/getMe")
                try:
                    raise ValueError(f"{TOKEN} in an exception")
                except ValueError:
                    logging.getLogger("anything").exception("failed")
                await server.kill()
                await until(lambda: any("no updates" in line for line in lines))
    finally:
        root.removeHandler(handler)
    assert any("***" in line for line in lines)
    assert not any(secret in line for line in lines)


async def test_a_second_panel_takes_the_place_of_the_first(server: TelegramServer, tmp_path: Path) -> None:
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        first = await answer_to(ann.says("/settings", group), group)
        others = await answer_to(bob.says("/settings", group), group)
        second = await answer_to(ann.says("/settings", group), group)
        await until(lambda: first.deleted)
        assert not second.deleted
        assert not others.deleted


async def test_a_sticker_that_moves_is_told_what_can_be_read(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    sticker = {"file_id": "s", "file_unique_id": "s", "type": "regular", "width": 512, "height": 512}
    async with party(server, tmp_path):
        sent = ann.says(sticker=sticker | {"is_animated": True, "is_video": False})
        answer = await answer_to(sent, ann.private)
    assert "I can't read" in answer.text
    assert "a sticker that moves" in answer.text
    assert "pictures" in answer.text
