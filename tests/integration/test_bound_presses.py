"""A press counts only on the message that carries its button, whatever a modified client sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.storage.memory.storage import MemoryStorage
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


@pytest.mark.parametrize("button", ["+", "Close", "precise"])
async def test_the_data_of_a_panel_does_nothing_to_an_answer(
    server: TelegramServer, tmp_path: Path, button: str
) -> None:
    """The seal of one's own panel is genuine; the message that it is sent with is somebody else's answer."""
    ann, bob, group = server.person("Ann", 1), server.person("Bob", 2), server.group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        panel = await answer_to(bob.says("/settings@party_bot", group), group)
        before, data = answer.text, panel.buttons[button]
        query = bob.presses(answer, "", group, data=data)
        await until(lambda: query not in server.world.queries)
        await answer_to(bob.says("@party_bot still there?", group), group)
        assert not answer.deleted
        assert answer.text == before
        assert list(answer.buttons) == ["Regenerate"]
        assert "• precise •" not in panel.buttons


async def test_a_panel_that_carries_the_data_and_shows_an_answer_is_left_alone(
    server: TelegramServer, tmp_path: Path
) -> None:
    """What is stored about the message counts too: an answer stays an answer, whatever its markup is said to be."""
    ann, group = server.person("Ann", 1), server.group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        panel = await answer_to(ann.says("/settings@party_bot", group), group)
        before = answer.text
        answer.content["reply_markup"] = panel.content["reply_markup"]
        for button in ("+", "Close"):
            query = ann.presses(answer, button, group)
            await until(lambda: query not in server.world.queries)  # noqa: B023
        await answer_to(ann.says("@party_bot still there?", group), group)
        assert (answer.deleted, answer.text) == (False, before)


async def test_an_answers_data_counts_only_where_its_button_stands(server: TelegramServer, tmp_path: Path) -> None:
    ann, group = server.person("Ann", 1), server.group()
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        assert list(answer.buttons) == ["Regenerate"]
        query = ann.presses(answer, "", group, data="answer:continue")
        await until(lambda: query not in server.world.queries)
        note = await answer_to(ann.says("/help@party_bot", group), group)
        query = ann.presses(note, "", group, data="answer:regenerate")
        await until(lambda: query not in server.world.queries)
        await answer_to(ann.says("@party_bot still there?", group), group)
        assert len(group.answers) == 3
        assert any("no longer works" in text for _, text in server.world.toasts)


async def test_a_message_that_cannot_be_read_carries_no_button(server: TelegramServer, tmp_path: Path) -> None:
    """Telegram sends an `InaccessibleMessage`, without a markup, for what was deleted meanwhile."""
    ann = server.person("Ann", 1)
    async with party(server, tmp_path):
        panel = await answer_to(ann.says("/settings"), ann.private)
        data = panel.buttons["Close"]
        server.world.queries.add("q-gone")
        server.happen(
            callback_query={
                "id": "q-gone",
                "from": ann.user,
                "chat_instance": "c",
                "message": {"message_id": panel.id, "date": 0, "chat": ann.private.view()},
                "data": data,
            }
        )
        await until(lambda: "q-gone" not in server.world.queries)
        assert not panel.deleted


async def test_presses_are_bound_after_a_restart_too(server: TelegramServer, tmp_path: Path) -> None:
    """The messages of an earlier process, and an update that it recorded and did not live to handle."""
    ann, bob, group, storage = server.person("Ann", 1), server.person("Bob", 2), server.group(), MemoryStorage()
    async with party(server, tmp_path, storage=storage):
        answer = await answer_to(ann.says("@party_bot fibonacci", group), group)
        panel = await answer_to(bob.says("/settings@party_bot", group), group)
        before = answer.text
    query = bob.presses(answer, "", group, data=panel.buttons["Close"])
    async with party(server, tmp_path, storage=storage):
        await until(lambda: query not in server.world.queries)
        bob.presses(panel, "precise", group)
        await until(lambda: "• precise •" in panel.buttons)
        ann.presses(answer, "Regenerate", group)
        await until(lambda: len(group.answers) == 3)
        bob.presses(panel, "Close", group)
        await until(lambda: panel.deleted)
    assert (answer.deleted, answer.text) == (False, before)
