"""SIGTERM while the database does not answer: the stop takes no longer, and nothing is marked that was not done."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from adapters.storage.database.database import open_database
from adapters.storage.sql.storage import SqlStorage
from tests.fakes import script
from tests.integration.telegram_parts import answer_to
from tests.integration.test_kill import free_port
from tests.integration.test_telegram_process import partyline
from tests.killing import Page, Program
from tests.lifecycle import SETTLED_WITHIN_S, Discord, Party, Telegram, ended_after_s
from tests.servers.discord import DiscordServer
from tests.servers.postgresql import Server
from tests.servers.telegram import telegram, until

pytestmark = pytest.mark.timeout(400)
STOPS = 3
WORDS = [f"word{n}" for n in range(200)]
BRIEF = [f"brief{n}" for n in range(24)]
Hanging = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process has the database for itself: whoever writes waits."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Hanging]:
    """An address, and what makes that database hang."""
    if request.param == "sqlite":
        path = tmp_path / "partyline.sqlite3"
        return str(path), lambda: locked(path)
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database(), server.frozen


@pytest.mark.parametrize("drafts", ["false", "true"])
async def test_what_a_stop_cannot_keep_is_gone_on_with_and_comes_once(
    tmp_path: Path, database: tuple[str, Hanging], drafts: str
) -> None:
    """One answer is cut off by the stop, one ends while it drains, and one question comes while nothing is kept."""
    address, hanging = database
    slow = {"match": "slow", "answer": " ".join(WORDS), "tokens_per_s": 25}
    brief = {"match": "brief", "answer": " ".join(BRIEF), "tokens_per_s": 20}
    script(tmp_path, slow, brief, {"match": "", "answer": "It was asked late."})
    settings = {
        "PARTYLINE_DATABASE": address,
        "PARTYLINE_TELEGRAM__DRAFTS": drafts,
        "PARTYLINE_LIMITS__MAX_TOKENS": "4000",
        "PARTYLINE_LIMITS__DEFAULT_MAX_TOKENS": "4000",
    }
    async with telegram() as server:
        ann, bob, cid = (server.person(f"Person {n}", n) for n in (1, 2, 3))

        def grows(person: object, word: str) -> bool:
            chat = person.private  # type: ignore[attr-defined]
            return any(word in text for text in (*(m.text for m in chat.answers), *chat.drafts.values()))

        async with partyline(tmp_path, server, **settings) as process:
            asked = ann.says("slow")
            await until(lambda: grows(ann, "word"))
            ends = cid.says("brief")
            await until(lambda: grows(cid, "brief"))
            begun = [message.id for message in ann.private.answers]
            with hanging():
                late = bob.says("late")
                await ended_after_s(process)
            assert process.returncode == 0
        async with open_database(address) as opened:
            storage = SqlStorage(opened)
            left = await storage.pending("telegram:4711")
        assert "slow" in "".join(event.payload for event in left), "it was marked, and is not answered"
        async with partyline(tmp_path, server, **settings):
            for person, question in ((ann, asked), (cid, ends), (bob, late)):
                await answer_to(question, person.private)
            await until(lambda: any(WORDS[-1] in message.text for message in ann.private.answers))
            await until(lambda: not server.world.updates)
            await until(lambda: "Regenerate" in " ".join(ann.private.answers[-1].buttons))
        assert [_words(message.text) for message in ann.private.answers] == [WORDS]
        assert [_words(message.text) for message in cid.private.answers] == [BRIEF]
        assert [message.text.startswith("It was asked late.") for message in bob.private.answers] == [True]
        assert [message.id for message in ann.private.answers[: len(begun)]] == begun
        assert len(set(server.world.confirmed)) == len(server.world.confirmed) == 3


def _words(text: str) -> list[str]:
    return [word for word in text.split() if word.startswith(("word", "brief"))]


async def test_people_on_all_platforms_do_not_mind(tmp_path: Path, database: tuple[str, Hanging]) -> None:
    """They write, press and set on, also while nothing can be kept; everything is answered once and is whole."""
    address, hanging = database
    dice = random.Random(20)
    async with telegram() as telegrams, DiscordServer().serving() as discords:
        party = Party(Telegram(telegrams, dice), Discord(discords, dice), Page(free_port(), dice))
        # Such a stop takes all its time, and the machine may be busy.
        program = Program(tmp_path, address, {**party.environment, "PARTYLINE_INFERENCE__DRAIN_S": "1"})
        async with asyncio.TaskGroup() as group:
            people = group.create_task(party.live())
            for _ in range(STOPS):
                async with program.running() as process:
                    await asyncio.sleep(dice.uniform(0.5, 1.5))
                    with hanging():
                        await asyncio.sleep(dice.uniform(0.0, 0.5))
                        await ended_after_s(process)
            party.finish()
            async with program.running() as process:
                try:
                    async with asyncio.timeout(SETTLED_WITHIN_S):
                        await people
                except TimeoutError:
                    raise AssertionError("\n".join(["these wait for ever:", *party.waiting()])) from None
                await ended_after_s(process)
        await party.check(address)
