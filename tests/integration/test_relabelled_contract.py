"""An answer that turns out to be reasoning, on each platform's own channel and wire, also after a crash between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from adapters.delivery.channel import Channel, Frame
from adapters.delivery.outbox import Outboxes
from adapters.delivery.pacing.rate_budget import Rate
from adapters.discord.client.addresses import api_address, bind
from adapters.discord.client.connection import new_client
from adapters.discord.client.rest import RestClient
from adapters.discord.outbound.channel import Echoes
from adapters.discord.outbound.channel import limits as discord_limits
from adapters.discord.outbound.interaction_channel import MOST_MESSAGES, Deferred, InteractionChannel, InteractionToken
from bots.messages import Ended, Relabelled, ReplyEvent, Started, TextDelta, ThinkingMode
from inference.api import Timings, Usage
from tests.integration.test_delivery_contract import CHANNELS, Subject
from tests.servers.discord import TOKEN, DiscordServer
from tests.servers.simulated import PHRASES, Records, told

SECRET = [f"secret{n} " for n in range(1200)]
ANSWER = [f"answer{n} " for n in range(40)]


def interaction(deferred: Deferred, *, borrowed: bool = False) -> Callable[[], AbstractAsyncContextManager[Subject]]:
    @asynccontextmanager
    async def made() -> AsyncIterator[Subject]:
        server, client = DiscordServer(), new_client()
        async with server.serving(), client:
            bind(api_address(server.address), server.gateway)
            await client.login(TOKEN)
            room = server.room(guild="1") if borrowed else server.room()
            asked = await server.interact(server.person("Ann"), room, 2, {})
            flags = 64 * (deferred == "private")
            await asked.acknowledged(asked.token, {"type": 5, "data": {"flags": flags}})
            most = MOST_MESSAGES if borrowed else 0
            bound = discord_limits("discord:1", most_messages=most)
            bound = replace(bound, rate=Rate(1, 0.01), edit_rate=None, account_rate=None)
            token = InteractionToken(server.bot["id"], asked.token, deferred, borrowed)
            channel = InteractionChannel(RestClient(client), room.id, bound, Echoes(), lambda id: None, token=token)
            yield Subject(
                channel, "c", lambda: [each["content"].replace("\\", "") for each in (*room.messages, *asked.private)]
            )

    made.__name__ = f"interaction {deferred}{' borrowed' * borrowed}"
    return made


PLATFORMS = [*CHANNELS, interaction("shown"), interaction("private"), interaction("shown", borrowed=True)]


@pytest.fixture(params=PLATFORMS, ids=lambda factory: factory.__name__)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with request.param() as made:
        yield made


def end(mode: ThinkingMode) -> Ended:
    return Ended(reason="stop", usage=Usage(), timings=Timings(), model="tiny", thinking=mode)


def holds(subject: Subject, secrets: int, mode: ThinkingMode) -> None:
    """Each word of the answer is there once, in order, and none of the reasoning stands in the answer."""
    seen = " ".join(subject.seen())
    words = [word for word in seen.split() if word.startswith("answer")]
    assert words == [word.strip() for word in ANSWER], seen
    shown = [word.strip("*_~|>…") for word in seen.split() if "secret" in word]
    if subject.appends:
        assert shown == [word.strip() for word in SECRET[:secrets]], "what was printed stays, once"
        assert "Thought" in seen[seen.index(SECRET[secrets - 1]) : seen.index("answer0 ")]
    elif mode == "hide":
        assert shown == []
    else:
        assert len(shown) == len(set(shown)) == secrets
        assert seen.index("secret0") < seen.index(f"secret{secrets - 1}") < seen.index("answer0 ")


@pytest.mark.parametrize(("secrets", "mode"), [(5, "show"), (5, "hide"), (1200, "hide")])
async def test_what_was_shown_goes_to_thinking(subject: Subject, secrets: int, mode: ThinkingMode) -> None:
    if subject.channel.limits.most_messages:
        secrets = min(secrets, 400)  # of five messages, those that were used up are not to be had again
    start = Started(answer_id="a", thinking_mode=mode)
    events: list[ReplyEvent | float] = [
        start,
        *map(TextDelta, SECRET[:secrets]),
        0.4,
        Relabelled(),
        *map(TextDelta, ANSWER),
        end(mode),
    ]
    records = Records()
    async with Outboxes(phrases=PHRASES) as outboxes:
        await outboxes.deliver(subject.channel, subject.chat, told(events), reply_to=None, record=records)
    holds(subject, secrets, mode)
    assert await records.superseded(subject.chat, "a") == []
    known = (await records.delivered(subject.chat, "a")).message_ids
    assert len(known) == 1


@dataclass
class Dying:
    """The process, which ends when the channel is to make its call number `calls` after the answer was relabelled."""

    channel: Channel
    calls: int
    relabelled: bool = False
    died: bool = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.channel, name)

    async def _count(self) -> None:
        if self.relabelled:
            self.calls -= 1
        if self.calls < 0:
            self.died = True
            await asyncio.Event().wait()

    async def send(self, frame: Frame, *, reply_to: str | None, nonce: str) -> str:
        await self._count()
        return await self.channel.send(frame, reply_to=reply_to, nonce=nonce)

    async def edit(self, message_id: str, frame: Frame) -> str | None:
        await self._count()
        return await self.channel.edit(message_id, frame)

    async def delete(self, message_id: str) -> None:
        await self._count()
        await self.channel.delete(message_id)


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
async def test_after_a_crash_it_is_the_same(subject: Subject, calls: int) -> None:
    """The database knows that it was reasoning; the platform has seen that for as many calls."""
    secrets = SECRET[: 5 if subject.appends else 450]
    dying, records = Dying(subject.channel, calls), Records()
    start = Started(answer_id="a", thinking_mode="hide")

    async def events() -> AsyncGenerator[ReplyEvent, None]:
        async with aclosing(told([start, *map(TextDelta, secrets), 0.5])) as first:
            async for event in first:
                yield event
        dying.relabelled = True
        yield Relabelled()
        async with aclosing(told([*map(TextDelta, ANSWER[:20]), 30.0])) as second:
            async for event in second:
                yield event

    async with Outboxes(phrases=PHRASES) as outboxes:
        delivery = asyncio.ensure_future(
            outboxes.deliver(dying, subject.chat, events(), reply_to=None, record=records)  # type: ignore[arg-type]
        )
        for _ in range(400):
            if dying.died or "answer19" in " ".join(subject.seen()):
                break
            await asyncio.sleep(0.01)
        delivery.cancel()
        with suppress(asyncio.CancelledError):
            await delivery
    known = (await records.delivered(subject.chat, "a")).message_ids
    if known and isinstance(subject.channel, InteractionChannel):
        subject.channel.goes_on(known)
    again = replace(start, thinking="".join(secrets), text="".join(ANSWER[:20]), message_ids=known, again=True)
    async with Outboxes(phrases=PHRASES) as outboxes:
        rest = told([again, *map(TextDelta, ANSWER[20:]), end("hide")])
        await outboxes.deliver(subject.channel, subject.chat, rest, reply_to=None, record=records)
    if subject.appends:
        seen = " ".join(subject.seen())
        assert all(word in seen for word in (*secrets, *ANSWER))
        return
    holds(subject, len(secrets), "hide")
    assert await records.superseded(subject.chat, "a") == []
