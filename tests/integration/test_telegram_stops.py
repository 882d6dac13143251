"""Telegram: a stop or a death at any moment says no notice twice, opens no panel twice, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.delivery.channel import SENDING
from adapters.storage.database.database import open_database
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from bots import wording
from bots.ports import FILES_FROM, Storage
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until
from tests.servers.telegram_people import Person
from tests.servers.telegram_world import Chat

pytestmark = pytest.mark.timeout(60)
SLOW: dict[str, Any] = {"private_interval_s": 30.0}
"""What waits for the chat to be free again is not over when the program is stopped."""
COMMANDS = ["/help", "/temperature 0.4", "/settings"]
MOMENTS = ["end", "record_delivery", "record_shown", "answered"]


class Dying(MemoryStorage):
    """From the first call of that name on nothing is kept any more, and nothing returns: before it, or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.moment, self.before = "", True
        self.is_it: Callable[..., bool] = lambda *arguments: True
        """Which of the calls."""
        self.dead = asyncio.Event()

    def live(self) -> None:
        self.moment = ""
        self.dead.clear()

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in MOMENTS:
            return found

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            is_it = name == self.moment and self.is_it(*args)
            if is_it and self.before:
                self.dead.set()
            if self.dead.is_set():
                await asyncio.Event().wait()
            result = await found(*args, **kwargs)
            if is_it:
                self.dead.set()
                await asyncio.Event().wait()
            return result

        return mortal


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as running:
        yield running


def texts(chat: Chat) -> list[str]:
    return [answer.text for answer in chat.answers]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", COMMANDS)
async def test_whenever_it_dies_a_notice_comes_once(
    server: TelegramServer, tmp_path: Path, command: str, moment: str, before: bool
) -> None:
    storage, ann = Dying(), server.person()
    storage.moment, storage.before = moment, before
    async with party(server, tmp_path, storage=storage, **SLOW):
        ann.says(command)
        async with asyncio.timeout(20):
            await storage.dead.wait()
    storage.live()
    async with party(server, tmp_path, storage=storage, **SLOW):
        await until(lambda: len(ann.private.answers) == 1)
        await answer_to(ann.says("/help"), ann.private)
        await settled(storage)
    assert len(texts(ann.private)) == 2, texts(ann.private)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("moment", ["record_delivery", "answered"])
async def test_whenever_it_dies_a_lost_picture_is_told_of_once(
    server: TelegramServer, tmp_path: Path, moment: str, before: bool
) -> None:
    storage, ann = Dying(), server.person()
    server.folder = tmp_path  # in which it is not
    storage.moment, storage.before = moment, before
    async with party(server, tmp_path, storage=storage, files_dir=str(tmp_path)):
        ann.shows(b"12345")
        async with asyncio.timeout(20):
            await storage.dead.wait()
    storage.live()
    async with party(server, tmp_path, storage=storage, files_dir=str(tmp_path)):
        await settled(storage)
    assert texts(ann.private) == [wording.picture_lost("Telegram")]


def records_a_file(chat: str, answer_id: str, position: int, message_id: str) -> bool:
    return position >= FILES_FROM and not message_id.startswith(SENDING)


def announces_a_file(chat: str, answer_id: str, position: int, message_id: str) -> bool:
    return position >= FILES_FROM and message_id.startswith(SENDING)


@pytest.mark.parametrize(
    ("is_it", "before"),
    [(announces_a_file, False), (records_a_file, True), (records_a_file, False), (None, True), (None, False)],
)
async def test_whenever_it_dies_the_files_of_an_answer_come_once(
    server: TelegramServer, tmp_path: Path, is_it: Callable[..., bool] | None, before: bool
) -> None:
    """When it is announced, when it is sent and not recorded, when it is recorded, and (None) when all is there.

    The answer has more messages than a start tries numbers for one that it does not know of.
    """
    long = {"match": "files", "answer": "manifold " * 7_500, "tokens_per_s": 10**6}
    storage, ann = Dying(), server.person()
    storage.moment, storage.before = "record_shown" if is_it is None else "record_delivery", before
    storage.is_it = is_it or storage.is_it
    async with party(server, tmp_path, long, storage=storage):
        ann.says("files")
        async with asyncio.timeout(60):
            await storage.dead.wait()
    storage.live()
    async with party(server, tmp_path, long, storage=storage):
        await settled(storage)
    files = [message.file[0] for message in ann.private.messages if message.file]
    assert files == ["answer.md"]
    assert sum(answer.text.count("manifold") for answer in ann.private.answers) == 7_500


async def settled(storage: Storage) -> None:
    async with asyncio.timeout(20):
        while await storage.unanswered("telegram:4711"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[SqlStorage]:
    async with open_database(str(folder / "partyline.sqlite3")) as database:
        storage = SqlStorage(database, "one")
        async with storage.behind.running():
            yield storage


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_stop_right_behind_a_notice_does_not_say_it_again(
    server: TelegramServer, tmp_path: Path, command: str
) -> None:
    ann = server.person()
    async with on_disk(tmp_path) as storage:
        async with party(server, tmp_path, storage=storage, **SLOW):
            ann.says(command)
            await until(lambda: ann.private.answers)
            await settled(storage)  # long before the chat may be written to again
        async with party(server, tmp_path, storage=storage, **SLOW):
            await answer_to(ann.says("/help"), ann.private)
    assert len(texts(ann.private)) == 2


SLOW_TO_APPLY_S = 1.2
"""Longer than a stop took before it waited for what is on its way, and shorter than it waits."""


@pytest.mark.parametrize("what", ["asks", "/help"])
async def test_what_is_on_its_way_at_a_stop_comes_once(server: TelegramServer, tmp_path: Path, what: str) -> None:
    """The server is slow: a start that comes before it has applied the call looks for the message in vain."""
    ann, applied = server.person(), asyncio.Event()
    line = {"match": "asks", "answer": "word " * 50, "tokens_per_s": 200}
    async with on_disk(tmp_path) as storage:
        async with party(server, tmp_path, line, storage=storage):
            server.holds["sendMessage"] = applied
            question = ann.says(what)
            await until(lambda: "sendMessage" in server.methods)
            asyncio.get_running_loop().call_later(SLOW_TO_APPLY_S, applied.set)
        async with party(server, tmp_path, line, storage=storage):
            await applied.wait()
            await settled(storage)
            answer = await answer_to(question, ann.private)
            await answer_to(ann.says("/help"), ann.private)
    assert what != "asks" or answer.text.count("word") == 50
    assert len(ann.private.answers) == 2, texts(ann.private)


def is_begun(people: Sequence[Person]) -> bool:
    return any("word" in text for person in people for text in texts(person.private))


async def test_what_is_picked_up_at_the_start_is_answered_once(server: TelegramServer, tmp_path: Path) -> None:
    """Four people write while it is down; it is stopped while it answers them, again and again."""
    slow = {"match": "slow", "answer": "word " * 100, "tokens_per_s": 100}
    asked = []
    async with on_disk(tmp_path) as storage:
        for round_ in range(6):
            people = [server.person(f"Person {number}", 10 * round_ + number) for number in range(1, 5)]
            asked += [(person.says("slow"), person.private) for person in people]
            async with party(server, tmp_path, slow, storage=storage):
                await until(partial(is_begun, people))
        async with party(server, tmp_path, slow, storage=storage):
            for question, chat in asked:
                answer = await answer_to(question, chat)
                assert answer.text.count("word") == 100
            await settled(storage)
    assert [len(chat.answers) for _, chat in asked] == [1] * len(asked)


@pytest.mark.parametrize("moment", ["record_shown", "answered"])
async def test_a_step_of_the_panel_is_made_once(server: TelegramServer, tmp_path: Path, moment: str) -> None:
    storage, ann = Dying(), server.person()
    async with party(server, tmp_path, storage=storage):
        panel = await answer_to(ann.says("/settings"), ann.private)
        await settled(storage)
        storage.moment = moment
        warmer = panel.content["reply_markup"]["inline_keyboard"][0][2]["callback_data"]
        ann.presses(panel, "+", data=warmer)
        async with asyncio.timeout(20):
            await storage.dead.wait()
    storage.live()
    async with party(server, tmp_path, storage=storage):
        await until(lambda: "Temperature 0.75" in panel.buttons)
        await settled(storage)
    assert await storage.preferences(f"telegram:{ann.private.id}") == {"temperature": "0.75"}
    assert len(ann.private.answers) == 1
