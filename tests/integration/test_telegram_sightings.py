"""Messages that an earlier process sent and did not live to record: which of them are found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from adapters.delivery.channel import Frame, RetryAfter
from adapters.telegram.client.addresses import Destination
from adapters.telegram.client.transport import BotApiRequest
from adapters.telegram.outbound.channel import Sightings, TelegramChannel, limits
from adapters.telegram.platform import bot_api
from config.settings import TelegramSettings
from tests.servers.telegram import TOKEN, TelegramServer, telegram
from tests.servers.telegram_world import Chat, Rules

pytestmark = pytest.mark.timeout(30)
HERE = Destination(4711, 1001)


@asynccontextmanager
async def channel(
    server: TelegramServer, asked: str | None = None, seen: Sightings | None = None, here: Destination = HERE
) -> AsyncIterator[TelegramChannel]:
    """Of a process that has seen nothing yet, or this."""
    settings = TelegramSettings.model_validate({"token": TOKEN, "api_base": server.address})
    async with bot_api(settings, BotApiRequest(256), BotApiRequest(1)) as api:
        yield TelegramChannel(api, here, limits(here, 0.01, 0.01), seen or Sightings(), asked)


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


async def test_a_message_that_was_announced_is_found_however_many_others_were_sent_before() -> None:
    """The next process has seen none of them, and nothing was recorded but the announcement."""
    async with telegram() as server:
        ann, others, seen = server.person(), [server.person(f"Other {n}", 2000 + n) for n in range(4)], Sightings()
        question = ann.says("a long one")
        async with channel(server, str(question.id), seen) as before:
            first = await before.send(Frame(markdown="one"), reply_to=str(question.id), nonce="n0")
            for other in others * 20:
                seen.saw(other.private.id, other.says("hello").id)
            name = before.sending(None, "n1")
            assert name is not None
            lost = await before.send(Frame(markdown="tw", growing=True), reply_to=None, nonce="n1")
        async with channel(server, str(question.id)) as after:
            assert await after.edit(first, Frame(markdown="one!")) is None
            assert await after.edit(name, Frame(markdown="two")) == lost
            assert await after.edit(lost, Frame(markdown="two!")) is None
        assert [each.text for each in ann.private.answers] == ["one!", "two!"]


async def test_a_message_that_was_announced_and_not_sent_is_sent() -> None:
    async with telegram() as server:
        ann = server.person()
        question = ann.says("a question")
        async with channel(server, str(question.id)) as before:
            name = before.sending(str(question.id), "n0")
        async with channel(server, str(question.id)) as after:
            assert name is not None
            sent = await after.edit(name, Frame(markdown="answer"))
            assert await after.edit(str(sent), Frame(markdown="answer!")) is None
        (shown,) = ann.private.answers
        assert shown.text == "answer!"
        assert shown.content["reply_to_message"]["message_id"] == question.id


async def test_what_was_sent_anew_is_not_looked_for_under_another_name() -> None:
    """The first message was beyond what is looked at: the second one must not be written over it."""
    async with telegram() as server:
        ann, other = server.person(), server.person("Other", 2000)
        question = ann.says("a long one")
        for _ in range(20):
            other.says("hello")
        async with channel(server, str(question.id)) as before:
            await before.send(Frame(markdown="one"), reply_to=str(question.id), nonce="n0")
        async with channel(server, str(question.id)) as after:
            assert await after.find("n0") is None
            await after.send(Frame(markdown="one"), reply_to=str(question.id), nonce="n0")
            assert await after.find("n1") is None


async def test_a_search_that_is_refused_for_a_while_goes_on_where_it_was() -> None:
    """A chat takes few calls at once, and the message has the eighth of the numbers that are tried."""
    async with telegram(Rules(private_interval_s=0.25, private_burst=4)) as server:
        ann, other = server.person(), server.person("Other", 2000)
        question = ann.says("a question")
        for _ in range(7):
            other.says("hello")
        async with channel(server, str(question.id)) as before:
            sent = await before.send(Frame(markdown="one", growing=True), reply_to=str(question.id), nonce="n0")
        penalties = 0
        async with channel(server, str(question.id)) as after:
            while True:
                try:
                    found = await after.find("n0")
                    break
                except RetryAfter as penalty:
                    penalties += 1
                    await asyncio.sleep(penalty.retry_after_s)
    assert found == sent
    assert 1 <= penalties <= 3


async def crash_with_sends_in_flight(server: TelegramServer, count: int) -> list[list[str]]:
    """So many messages, each to somebody else, are announced, then sent, and none is recorded; what each person reads.

    The next process looks for the one with the highest number first, when it has learnt of no other.
    """
    people = [server.person(f"Person {n}", 2000 + n) for n in range(count)]
    questions = [str(person.says("a question").id) for person in people]
    async with AsyncExitStack() as stack:
        seen = Sightings()
        seen.saw(people[-1].private.id, int(questions[-1]))
        places = [Destination(4711, person.private.id) for person in people]
        before = [
            await stack.enter_async_context(channel(server, asked, seen, here))
            for asked, here in zip(questions, places, strict=True)
        ]
        names = [each.sending(asked, f"n{n}") for n, (each, asked) in enumerate(zip(before, questions, strict=True))]
        for number, (each, asked) in enumerate(zip(before, questions, strict=True)):
            await each.send(Frame(markdown="wo", growing=True), reply_to=asked, nonce=f"n{number}")
        seen = Sightings()
        for asked, here, name in reversed(list(zip(questions, places, names, strict=True))):
            after = await stack.enter_async_context(channel(server, asked, seen, here))
            assert name is not None
            await after.edit(name, Frame(markdown="words"))
    return [[message.text for message in person.private.answers] for person in people]


@pytest.mark.parametrize("count", [1, 11, 12])
async def test_twelve_messages_on_their_way_in_private_chats_come_once(count: int) -> None:
    async with telegram() as server:
        assert await crash_with_sends_in_flight(server, count) == [["words"]] * count


async def test_of_more_messages_on_their_way_some_come_twice_and_none_is_lost_or_written_over() -> None:
    """The bound of docs/reliability.md is exact: the thirteenth is the one that nobody looks at."""
    async with telegram() as server:
        read = await crash_with_sends_in_flight(server, 13)
    assert read[:12] == [["words"]] * 12
    assert read[12] == ["wo", "words"]


@pytest.mark.parametrize(("between", "read"), [(11, ["words"]), (12, ["wo", "words"])])
async def test_in_a_supergroup_others_may_have_written_eleven_messages_that_the_bot_does_not_see(
    between: int, read: list[str]
) -> None:
    async with telegram() as server:
        group, ann = server.group(), server.person()
        here, asked = Destination(4711, group.id), str(ann.says("@party_bot a question", group).id)
        async with channel(server, asked, Sightings(), here) as before:
            name = before.sending(asked, "n")
            for _ in range(between):
                ann.says("to each other", group)
            await before.send(Frame(markdown="wo", growing=True), reply_to=asked, nonce="n")
        async with channel(server, asked, Sightings(), here) as after:
            assert name is not None
            await after.edit(name, Frame(markdown="words"))
        assert [message.text for message in group.answers] == read
