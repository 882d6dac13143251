"""Both ways to a Bot API server, httpx and the quicker one: the same outcomes, no redirect, no token in any word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from telegram import Bot as Api
from telegram import LinkPreviewOptions
from telegram.error import RetryAfter, TelegramError, TimedOut

from adapters.delivery.channel import ChannelError, UnknownOutcome, Unsent
from adapters.telegram.client.errors import channel_error
from adapters.telegram.client.redaction import redacted
from adapters.telegram.client.transport import BotApiRequest
from adapters.telegram.platform import bot_api
from config.settings import TelegramSettings
from inference.untrusted.connections import listening
from tests.servers.telegram import TOKEN, TelegramServer, telegram, until

pytestmark = pytest.mark.timeout(30)
OFF = LinkPreviewOptions(is_disabled=True)


@pytest.fixture(params=[False, True], ids=["httpx", "quick"])
async def calls(request: pytest.FixtureRequest) -> AsyncIterator[BotApiRequest]:
    made = BotApiRequest(8)
    await made.initialize()
    if request.param:
        await made.hasten()
    yield made
    await made.shutdown()


def api_at(address: str, calls: BotApiRequest) -> Api:
    settings = TelegramSettings.model_validate({"token": TOKEN, "api_base": address})
    return bot_api(settings, calls, BotApiRequest(1))


async def failure(address: str, calls: BotApiRequest) -> ChannelError:
    """What a message to that address comes to."""
    with pytest.raises(TelegramError) as caught:
        await api_at(address, calls).send_message(1001, "hello", link_preview_options=OFF)
    cause: BaseException | None = caught.value
    while cause is not None:
        assert TOKEN.partition(":")[2] not in f"{cause} {cause!r}"
        cause = cause.__cause__
    return channel_error(caught.value)


async def test_messages_and_files_arrive_as_they_are(calls: BotApiRequest) -> None:
    async with telegram() as server:
        chat = server.person().private
        api = api_at(server.address, calls)
        said = "Grüße & 100 % + ⚡\n=1?"
        message = await api.send_message(chat.id, said, link_preview_options=OFF)
        await api.edit_message_text(said * 2, chat.id, message.message_id, link_preview_options=OFF)
        await api.send_document(chat.id, b"many words", filename="über uns.md")
        assert [each.text for each in chat.answers][:1] == [said * 2]
        assert chat.files == {"über uns.md": b"many words"}
        assert (await api.get_me()).username == "party_bot"


async def test_a_penalty_is_one(calls: BotApiRequest) -> None:
    async with telegram() as server:
        chat = server.person().private
        server.failures = {"sendMessage": ["429"]}
        with pytest.raises(RetryAfter):
            await api_at(server.address, calls).send_message(chat.id, "hello", link_preview_options=OFF)


async def test_what_was_not_sent_and_what_may_have_been(calls: BotApiRequest) -> None:
    server = TelegramServer()
    await server.start()
    server.person()
    server.failures = {"sendMessage": ["drop"]}
    assert type(await failure(server.address, calls)) is UnknownOutcome
    await server.kill()
    assert type(await failure(server.address, calls)) is Unsent
    assert type(await failure("http://nobody.invalid", calls)) is Unsent


async def test_a_connection_that_the_server_has_closed_is_not_used_again(calls: BotApiRequest) -> None:
    server = TelegramServer()
    await server.start()
    chat = server.person().private
    api = api_at(server.address, calls)
    await api.send_message(chat.id, "one", link_preview_options=OFF)
    await server.kill()
    await server.start()
    await api.send_message(chat.id, "two", link_preview_options=OFF)
    assert [each.text for each in chat.answers] == ["one", "two"]
    await server.kill()


async def test_a_redirect_is_not_followed(calls: BotApiRequest) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path.rpartition("/")[2])
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with listening(app, "127.0.0.1", 0) as port:
        await failure(f"http://127.0.0.1:{port}", calls)
    assert asked == ["sendMessage"]


async def test_a_server_that_is_silent_is_given_up(calls: BotApiRequest) -> None:
    over = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", silent)
    async with listening(app, "127.0.0.1", 0) as port:
        with pytest.raises(TimedOut) as caught:
            await api_at(f"http://127.0.0.1:{port}", calls).send_message(1001, "hello", read_timeout=0.05)
        assert type(channel_error(caught.value)) is UnknownOutcome
        over.set()


async def test_what_is_no_answer_has_no_outcome(calls: BotApiRequest) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"ok": true')
        assert request.transport is not None
        request.transport.abort()
        return response

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", cut)
    async with listening(app, "127.0.0.1", 0) as port:
        assert type(await failure(f"http://127.0.0.1:{port}", calls)) is UnknownOutcome


async def test_no_log_holds_the_token(calls: BotApiRequest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with redacted(TOKEN):
        async with telegram() as server:
            chat = server.person().private
            await api_at(server.address, calls).send_message(chat.id, "hello", link_preview_options=OFF)
        await failure(server.address, calls)
    assert TOKEN.partition(":")[2] not in caplog.text


async def test_every_request_waits_for_leave() -> None:
    asked, may = 0, asyncio.Event()

    async def permitted() -> bool:
        nonlocal asked
        asked += 1
        await may.wait()
        return False

    async with telegram() as server:
        calls = BotApiRequest(8, permitted)
        await calls.initialize()
        await calls.hasten()
        chat = server.person().private
        saying = asyncio.create_task(
            api_at(server.address, calls).send_message(chat.id, "hello", link_preview_options=OFF)
        )
        await until(lambda: bool(asked))
        assert not server.methods
        may.set()
        await saying
        assert (asked, server.methods) == (1, ["sendMessage"])
        await calls.shutdown()


async def test_proxies_of_the_environment_are_left_to_the_library_that_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    calls = BotApiRequest(8)
    await calls.hasten()
    assert calls._quick is None
    await calls.shutdown()


async def test_a_server_that_speaks_another_protocol_has_no_outcome(calls: BotApiRequest) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HELO there\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert type(await failure(f"http://127.0.0.1:{port}", calls)) is UnknownOutcome
