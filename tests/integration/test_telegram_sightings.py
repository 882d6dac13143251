"""Messages that an earlier process sent and did not live to record: which of them are found again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.delivery.channel import Frame
from adapters.telegram.addresses import Destination
from adapters.telegram.channel import Sightings, TelegramChannel, limits
from adapters.telegram.platform import bot_api
from config.settings import TelegramSettings
from tests.servers.telegram import TOKEN, TelegramServer, telegram
from tests.servers.telegram_world import Chat

pytestmark = pytest.mark.timeout(30)
HERE = Destination(4711, 1001)


@asynccontextmanager
async def channel(server: TelegramServer, asked: str | None = None) -> AsyncIterator[TelegramChannel]:
    """Of a process that has seen nothing yet."""
    settings = TelegramSettings.model_validate({"token": TOKEN, "api_base": server.address})
    async with bot_api(settings) as api:
        yield TelegramChannel(api, HERE, limits(HERE, 0.01, 0.01), Sightings(), asked)


async def test_a_file_is_not_written_over_and_the_words_come_all_the_same() -> None:
    async with telegram() as server:
        ann = server.person()
        question = ann.says("/help")
        chat: Chat = ann.private
        async with channel(server) as before:
            await before.upload("answer.md", b"many words", reply_to=None, nonce="file")
        async with channel(server, str(question.id)) as after:
            found = await after.find("words")
            assert found == str(chat.messages[-1].id), "nothing tells that it is a file"
            shown = await after.edit(found, Frame(markdown="Here to help."))
            assert shown not in (None, found)
            assert await after.edit(str(shown), Frame(markdown="Here to help!")) is None
        assert chat.files == {"answer.md": b"many words"}
        assert [each.text for each in chat.answers] == ["Here to help!"]
