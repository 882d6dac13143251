"""Where a person took the bot along: only the token of their command works there, for few messages and 15 minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.discord_parts import Party, is_complete, labels, party
from tests.servers.discord import DiscordServer
from tests.servers.discord_people import Interaction
from tests.servers.discord_world import Room

_WORDS = 7000
LONG = {"match": "pages", "answer": " ".join(f"w{number:04}" for number in range(_WORDS))}
"""41,999 characters."""


def server(discord: DiscordServer) -> Room:
    return discord.room("abroad", guild=discord.new_id())


def other_peoples_messages(discord: DiscordServer) -> Room:
    return discord.direct(discord.person("Bob"), aloof=True)


Place = Callable[[DiscordServer], Room]
places = pytest.mark.parametrize("place", [server, other_peoples_messages], ids=lambda place: place.__name__)


def refusals(p: Party) -> list[tuple[str, str, int]]:
    return [(call.method, call.path.split("/")[3], call.status) for call in p.discord.calls if call.status >= 400]


def whole(p: Party, message: dict[str, Any], name: str = "answer.md") -> str:
    [file] = [each for each in message["attachments"] if each["filename"] == name]
    return p.discord.files[file["url"].rsplit("/", 1)[1]].decode()


async def finished(p: Party, room: Room) -> list[dict[str, Any]]:
    """All messages of the bot there, once the last one is complete and has its file."""
    wanted = lambda: (own := p.answers(room)) and is_complete(own[-1]) and own[-1]["attachments"] and own  # noqa: E731
    return list(await p.discord.until(wanted))


@places
async def test_a_long_answer_has_as_many_messages_as_there_may_be_and_comes_whole_as_a_file(
    tmp_path: Path, place: Place
) -> None:
    async with party(tmp_path, LONG, max_tokens=10_000) as p:
        room = place(p.discord)
        await p.ann.calls(room, "ask", prompt="pages")
        answers = await finished(p, room)
        assert len(answers) == 5
        assert whole(p, answers[-1]) == LONG["answer"]
        assert "The attached file has the whole answer" in answers[-1]["content"]
        assert labels(answers[-1]) == ["Regenerate"]
        assert refusals(p) == []


async def test_a_button_there_has_its_own_messages(tmp_path: Path) -> None:
    async with party(tmp_path, LONG, max_tokens=10_000) as p:
        room = server(p.discord)
        await p.ann.calls(room, "ask", prompt="pages")
        answers = await finished(p, room)
        await p.ann.presses(room, answers[-1], "Regenerate")
        await p.discord.until(lambda: len(p.answers(room)) == 10 and p.answers(room)[-1]["attachments"])
        assert whole(p, p.answers(room)[-1]) == LONG["answer"]
        assert refusals(p) == []


@pytest.mark.parametrize("by", ["button", "command"])
async def test_continue_goes_on_with_new_messages(tmp_path: Path, by: str) -> None:
    async with party(tmp_path, LONG, max_tokens=10_000) as p:
        room = server(p.discord)
        await p.set("max_tokens", 200)
        used = await p.ann.calls(room, "ask", prompt="pages")
        cut = await p.discord.until(lambda: used.original if "Continue" in labels(used.original or {}) else None)
        await p.set("max_tokens", 9999)
        if by == "button":
            await p.ann.presses(room, cut, "Continue")
        else:
            await p.ann.calls(room, "continue")
        answers = await finished(p, room)
        assert whole(p, answers[-1]) == LONG["answer"]
        assert len(answers) == (5 if by == "button" else 6)
        assert all(status == 404 for _, _, status in refusals(p))
        assert len(refusals(p)) <= 1


async def test_before_its_token_is_over_an_answer_is_stopped_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbound.event_handler._CLOSING_S", 896.0)
    async with party(tmp_path) as p:
        room = server(p.discord)
        used = await p.ann.calls(room, "ask", prompt="slow")
        closed = await p.discord.until(lambda: used.original if "Continue" in labels(used.original or {}) else None)
        assert "15 minutes at a time. Press Continue" in closed["content"]
        assert closed["content"].count("word") > 5
        monkeypatch.setattr("adapters.discord.inbound.event_handler._CLOSING_S", 60.0)
        before = closed["content"].count("word")
        await p.ann.presses(room, closed, "Continue")
        await p.discord.until(lambda: closed["content"].count("word") > before and labels(closed) == ["Stop"])
        assert refusals(p) == []


async def test_where_the_bot_itself_may_write_no_answer_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.inbound.event_handler._CLOSING_S", 899.0)
    async with party(tmp_path, {"match": "brief", "answer": "word " * 60, "tokens_per_s": 30}) as p:
        used = await p.ann.calls(p.room, "ask", prompt="brief")
        await p.discord.until(lambda: used.original and labels(used.original) == ["Regenerate"])


async def test_a_server_that_counts_unexpectedly_is_asked_no_second_time(tmp_path: Path) -> None:
    """It says that the bot is a member, takes no message of its own, and no more follow-ups than of a guest."""
    line = {"match": "pages", "answer": str(LONG["answer"])[:14_399]}
    async with party(tmp_path, line, max_tokens=10_000) as p:
        p.room.forbidden |= {"send", "edit", "attach", "history"}
        used = await p.ann.calls(p.room, "ask", prompt="pages")
        used.is_borrowed = True
        answers = await finished(p, p.room)
        assert whole(p, answers[-1]) == line["answer"]
        assert [status for _, by, status in refusals(p) if by == "webhooks"] == [400]
        assert len(refusals(p)) < 6


@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "unheard"])
async def test_after_a_restart_the_rest_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """A follow-up has no nonce, and Discord lists none: of one that nobody has heard of, the text comes once more."""
    slow, quick = LONG | {"tokens_per_s": 300}, LONG | {"tokens_per_s": 20_000}
    called, told = Interaction.called, asyncio.Event()
    if is_heard:
        told.set()

    async def late(self: Interaction, method: str, *what: Any) -> Any:
        answer = await called(self, method, *what)
        if method == "POST":
            await self.server.notify()
            await told.wait()
        return answer

    monkeypatch.setattr(Interaction, "called", late)
    async with DiscordServer().serving() as discord:
        room = server(discord)
        async with party(tmp_path, slow, max_tokens=10_000, discord=discord) as up:
            await up.ann.calls(room, "ask", prompt="pages")
            await discord.until(lambda: len(up.answers(room)) == 2)
        told.set()
        async with party(tmp_path, quick, max_tokens=10_000, discord=discord, storage=up.storage) as p:
            answers = await finished(p, room)
            assert len(answers) == (5 if is_heard else 6)
            assert whole(p, answers[-1]) == LONG["answer"]
            assert refusals(p) == []


async def test_private_words_come_alone(tmp_path: Path) -> None:
    async with party(tmp_path) as p:
        room = server(p.discord)
        used: Interaction = await p.ann.calls(room, "settings show")
        await p.discord.until(lambda: used.private)
        assert p.answers(room) == []
        assert refusals(p) == []
