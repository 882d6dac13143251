"""Bot API servers that are not quite like Telegram's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.telegram.client.transport import told_code
from tests.integration.telegram_parts import answer_to, party
from tests.servers.telegram import TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with telegram() as made:
        yield made


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"ok": True, "result": []}, 200),
        ({"result": {"message_id": 1}, "ok": True}, 200),
        ({"ok": False, "error_code": 429, "description": "Too Many Requests"}, 429),
        ({"ok": False, "description": "Bad Request: chat not found"}, 400),
        ({"ok": False, "error_code": 200}, 400),
        ({"ok": True}, 502),
        ([], 502),
    ],
)
def test_what_a_status_of_200_means(answer: object, code: int) -> None:
    assert told_code(json.dumps(answer).encode()) == code
    assert told_code(json.dumps(answer, indent=2, sort_keys=True).encode()) == code


async def test_errors_under_a_status_of_200_are_errors(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    server.always_200 = True
    server.failures = {"getMe": ["429"], "sendMessage": ["429"], "getFile": ["429"]}
    async with party(server, tmp_path):
        answer = await answer_to(ann.says("think about it"), ann.private)
        await answer_to(ann.shows(b"12345"), ann.private)
        ann.private.forbidden = "Forbidden: bot was blocked by the user"
        ann.says("nobody hears this")
        await until(lambda: not server.world.updates)
        ann.private.forbidden = ""
        await answer_to(ann.says("back"), ann.private)
    assert "Forty two." in answer.text
    assert not any(server.failures.values())


async def test_a_server_that_holds_no_polls_is_not_asked_without_end(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    server.holds_polls = False
    async with party(server, tmp_path):
        await answer_to(ann.says("hello"), ann.private)
        polls = server.methods.count("getUpdates")
        await asyncio.sleep(1.2)
        assert server.methods.count("getUpdates") < polls + 5


async def test_the_largest_size_of_a_photo_is_looked_at(server: TelegramServer, tmp_path: Path) -> None:
    ann = server.person()
    server.world.files |= {"small": b"1", "large": b"12345"}
    sizes = [{"file_id": f, "file_unique_id": f, "width": n, "height": n} for f, n in (("large", 900), ("small", 90))]
    async with party(server, tmp_path):
        assert (await answer_to(ann.says(photo=sizes), ann.private)).text.startswith("a picture of 5 bytes")
