"""What every channel keeps to. A platform joins by adding its factory to `CHANNELS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from adapters.delivery.channel import Channel, Frame, Limits, MessageGone, ThinkingView
from adapters.delivery.outbox import Outboxes
from adapters.delivery.pacing.rate_budget import Rate
from adapters.delivery.renderers.html import render_html
from adapters.discord.client.addresses import api_address, bind
from adapters.discord.client.connection import new_client
from adapters.discord.client.rest import RestClient
from adapters.discord.outbound.channel import DiscordChannel, Echoes
from adapters.discord.outbound.channel import limits as discord_limits
from adapters.telegram.client.addresses import Destination
from adapters.telegram.client.transport import BotApiRequest
from adapters.telegram.outbound.channel import Sightings, TelegramChannel
from adapters.telegram.outbound.channel import limits as telegram_limits
from adapters.telegram.platform import bot_api
from adapters.terminal.channel import TerminalChannel
from adapters.web.channel.channel import CHAT, WebChannel
from adapters.web.channel.channel_log import ChannelLog
from adapters.web.channel.subscribers import Subscribers
from adapters.web.posts.memory import MemoryPosts
from bots.messages import Action, Ended, ReplyEvent, Started, TextDelta, ThinkingDelta
from config.settings import TelegramSettings
from inference.api import Timings, Usage
from tests.servers.discord import TOKEN as DISCORD_TOKEN
from tests.servers.discord import DiscordServer
from tests.servers.simulated import PHRASES, Platform, Records, SimulatedChannel, plain, told
from tests.servers.telegram import TOKEN as TELEGRAM_TOKEN
from tests.servers.telegram import telegram as telegram_server


@dataclass(frozen=True)
class Subject:
    """A channel to an empty chat, and what a person sees there: the text of each message, oldest first."""

    channel: Channel
    chat: str
    seen: Callable[[], Sequence[str]]
    appends: bool = False
    """All that was printed is one text that only grows: a terminal."""


@asynccontextmanager
async def simulated() -> AsyncIterator[Subject]:
    platform = Platform()
    channel = SimulatedChannel(platform, "c", Limits(message_units=600, upload_bytes=10**7, rate=Rate(1, 0.01)))
    yield Subject(channel, "c", lambda: [plain(message.frames[-1]) for message in platform.chat("c").visible])


@asynccontextmanager
async def web() -> AsyncIterator[Subject]:
    posts, audience = MemoryPosts(), Subscribers()
    board = ChannelLog(posts, audience, render_html)
    await board.open()
    channel = WebChannel(board, posts, audience)
    yield Subject(channel, CHAT, lambda: [plain(post.frame) for post in board._recent.values()])


@asynccontextmanager
async def terminal() -> AsyncIterator[Subject]:
    printed: list[str] = []
    with TemporaryDirectory() as folder:
        channel = TerminalChannel(printed.append, colour=False, width=80, folder=Path(folder))
        yield Subject(channel, "c", lambda: ["".join(printed)] if printed else [], appends=True)


@asynccontextmanager
async def discord() -> AsyncIterator[Subject]:
    server, client = DiscordServer(), new_client()
    async with server.serving(), client:
        bind(api_address(server.address), server.gateway)
        await client.login(DISCORD_TOKEN)
        room = server.room()
        quick = replace(discord_limits("discord:1"), rate=Rate(1, 0.01), edit_rate=None, account_rate=None)
        channel = DiscordChannel(RestClient(client), room.id, quick, Echoes())
        yield Subject(channel, "c", lambda: [message["content"].replace("\\", "") for message in room.messages])


@asynccontextmanager
async def telegram(*, quick: bool = False) -> AsyncIterator[Subject]:
    async with telegram_server() as server:
        chat = server.person().private
        settings = TelegramSettings.model_validate({"token": TELEGRAM_TOKEN, "api_base": server.address})
        destination = Destination(4711, chat.id)
        calls = BotApiRequest(256)
        if quick:
            await calls.hasten()
        async with bot_api(settings, calls, BotApiRequest(1)) as api:
            channel = TelegramChannel(api, destination, telegram_limits(destination, 0.01, 0.01), Sightings())
            yield Subject(channel, destination.chat, lambda: [message.text for message in chat.answers])


def quick_telegram() -> AbstractAsyncContextManager[Subject]:
    return telegram(quick=True)


CHANNELS: list[Callable[[], AbstractAsyncContextManager[Subject]]] = [
    simulated,
    web,
    terminal,
    discord,
    telegram,
    quick_telegram,
]


@pytest.fixture(params=CHANNELS, ids=lambda factory: factory.__name__)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with request.param() as made:
        yield made


HELLO = Frame(markdown="Hello", growing=True, actions=(Action.STOP,))
FRAMES = [
    Frame(status="In the queue, 2nd"),
    HELLO,
    replace(HELLO, growing=False, footer="model, 3 tokens", actions=(Action.REGENERATE, Action.CONTINUE)),
    Frame(thinking=ThinkingView("hm", 2, True, "Thought for 2 s"), markdown="**bold** `code`\n\n```python\nx = 1\n```"),
    Frame(markdown="Some", failure="It broke."),
    Frame(markdown="Settings", notice=True),
    Frame(markdown="- [x](http://y)\n> <b>\x00\ud800\u202e", growing=True),
]


async def test_limits_can_be_kept(subject: Subject) -> None:
    limits = subject.channel.limits
    assert limits.message_units >= 400
    assert limits.rate.interval_s >= 0
    assert limits.max_chunks >= 1


async def test_every_kind_of_frame_can_be_shown(subject: Subject) -> None:
    ids = [await subject.channel.send(frame, reply_to=None, nonce=f"n{n}") for n, frame in enumerate(FRAMES)]
    assert len(set(ids)) == len(FRAMES)
    assert len(subject.seen()) == (1 if subject.appends else len(FRAMES))
    for sentence in ("In the queue, 2nd", "Hello", "model, 3 tokens", "Thought for 2 s", "x = 1", "It broke.", "<b>"):
        assert any(sentence in text for text in subject.seen())
    for frame in FRAMES:
        await subject.channel.edit(ids[0], frame)
        assert 0 < subject.channel.measure(frame) <= subject.channel.limits.message_units


async def test_a_frame_is_as_long_as_its_text(subject: Subject) -> None:
    lengths = [subject.channel.measure(Frame(markdown="word " * n)) for n in (1, 10, 100)]
    assert lengths == sorted(set(lengths))
    assert lengths[2] >= 400


async def test_an_edit_replaces_the_text(subject: Subject) -> None:
    sent = await subject.channel.send(HELLO, reply_to=None, nonce="n")
    await subject.channel.edit(sent, Frame(markdown="Goodbye"))
    [text] = subject.seen()
    assert "Goodbye" in text
    assert text.rindex("Goodbye") > text.index("Hello") if subject.appends else "Hello" not in text


async def test_a_deleted_message_is_gone(subject: Subject) -> None:
    sent = await subject.channel.send(HELLO, reply_to=None, nonce="n")
    await subject.channel.delete(sent)
    assert list(subject.seen()) == (["Hello"] if subject.appends else [])
    with pytest.raises(MessageGone):
        await subject.channel.edit(sent, Frame(markdown="Goodbye"))


async def test_a_message_is_found_by_its_nonce_or_not_at_all(subject: Subject) -> None:
    sent = await subject.channel.send(HELLO, reply_to=None, nonce="n")
    assert await subject.channel.find("n") in (sent, None)
    assert await subject.channel.find("never used") is None


async def test_typing_is_harmless(subject: Subject) -> None:
    await subject.channel.typing()
    assert list(subject.seen()) == []


async def test_files_arrive_where_the_platform_takes_them(subject: Subject) -> None:
    if subject.channel.limits.upload_bytes:
        first = await subject.channel.upload("answer.md", b"text", reply_to=None, nonce="f1")
        assert first != await subject.channel.upload("code.py", b"x = 1", reply_to=None, nonce="f2")
    if subject.channel.limits.private_files:
        await subject.channel.upload("mine.json", b"{}", reply_to=None, nonce="f3", private=True)


async def test_a_whole_reply_arrives(subject: Subject) -> None:
    words = [f"word{n} " for n in range(300)]
    end = Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny")
    events: list[ReplyEvent] = [Started(answer_id="a"), ThinkingDelta("hm"), *map(TextDelta, words), end]
    records = Records()
    async with Outboxes(phrases=PHRASES) as outboxes:
        await outboxes.deliver(subject.channel, subject.chat, told(events), reply_to=None, record=records)
    seen = " ".join(subject.seen())
    assert all(f"word{n}" in seen for n in range(300))
    assert "tiny" in seen
    assert sorted(records.positions[subject.chat, "a"]) == list(range(len(subject.seen())))
