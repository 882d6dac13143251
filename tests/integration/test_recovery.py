"""A process dies at any moment of an answer; the next one gets the event again and goes on, in the same messages."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from pathlib import Path
from unittest.mock import ANY

import pytest

from adapters.delivery.channel import Channel, Limits
from adapters.delivery.outbox import Outboxes
from adapters.delivery.pacing.rate_budget import Rate
from adapters.storage.database.database import open_database
from adapters.storage.leases import hold_lease
from adapters.storage.memory.storage import MemoryStorage
from adapters.storage.sql.storage import SqlStorage
from bots import wording
from bots.conversation.ledger import read_asked
from bots.messages import Action, Ended, Failed, Incoming, Notice, ReplyEvent, Started, TextDelta, ThinkingDelta
from bots.ports import Received, ReplyRecord, Storage
from inference.api import Busy, ChatRequest, Interrupted, ModelInfo
from inference.serving.service import LocalInference
from tests.fakes import Chat, said, script, scripted_inference
from tests.mortal import Life
from tests.servers.simulated import PHRASES, Platform, SimulatedChannel

LONG = {"match": "long", "answer": " ".join(f"word{n}" for n in range(150)), "tokens_per_s": 900}
THOUGHT = " ".join(f"hm{n}" for n in range(40))
THINK = {"match": "think", "answer": f"<think>{THOUGHT}</think>\n\nforty two", "tokens_per_s": 400}
SHORT = {"match": "short", "answer": "a few words"}
INVENTED = {"match": "^$", "answer": "what a model says that was asked nothing"}
LIMITS = Limits(message_units=400, upload_bytes=10_000_000, rate=Rate(1, 0.01), max_chunks=2)


EVERY = 1 if os.environ.get("SOAK") else 4
"""Every moment, or one in so many."""


@pytest.fixture
async def inference(tmp_path: Path) -> AsyncIterator[LocalInference]:
    async with scripted_inference(script(tmp_path, LONG, THINK, SHORT, INVENTED)) as inference:
        yield inference


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    async with open_database(str(tmp_path / "partyline.sqlite3")) as database:
        storage = SqlStorage(database)
        async with storage.behind.running():
            yield storage


async def whole(chat: Chat, incoming: Incoming) -> list[ReplyEvent]:
    return [event async for event in chat.events(incoming)]


def left(incoming: Incoming) -> Incoming:
    """The same event as the next process finds it."""
    return replace(incoming, new=False)


async def until(chat: Chat, incoming: Incoming, kind: type, count: int = 1) -> list[ReplyEvent]:
    """The events of a process that dies when it has said `count` events of that kind."""
    events: list[ReplyEvent] = []
    async with aclosing(chat.events(incoming)) as stream:
        async for event in stream:
            events.append(event)
            count -= isinstance(event, kind)
            if not count:
                break
    return events


def started(events: list[ReplyEvent]) -> Started:
    (found,) = [event for event in events if isinstance(event, Started)]
    return found


async def test_an_answer_goes_on_where_it_was_kept(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    before = await until(first, incoming, TextDelta, 5)
    await storage.record_delivery(incoming.chat, started(before).answer_id, 0, "m1")
    after = await whole(Chat(inference, storage=storage), left(incoming))
    again = started(after)
    assert again.answer_id == started(before).answer_id
    assert (again.message_ids, again.again) == (("m1",), True)
    assert again.text + said(after) == LONG["answer"]
    assert isinstance(after[-1], Ended)


async def test_what_was_shown_before_anything_was_kept_is_found_by_its_name(
    inference: LocalInference, storage: Storage
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    before = await until(first, incoming, Started)
    assert await storage.reply(incoming.chat, incoming.event_id) is None
    await storage.record_delivery(incoming.chat, started(before).answer_id, 0, "m1")
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert started(after) == replace(started(before), message_ids=("m1",), again=True, question_id=ANY)
    assert said(after) == LONG["answer"]


async def test_an_event_that_another_process_took_over_is_not_answered_by_this_one(tmp_path: Path) -> None:
    async with (
        open_database(str(tmp_path / "partyline.sqlite3")) as database,
        hold_lease(database, "heir"),
        scripted_inference(script(tmp_path, LONG)) as inference,
    ):
        slow, heir = SqlStorage(database, "slow"), SqlStorage(database, "heir")
        chat = Chat(inference, storage=slow)
        incoming = chat.incoming("long")
        async with aclosing(chat.events(incoming)) as events:
            assert isinstance(await anext(events), Started)
            assert said(await whole(Chat(inference, storage=heir), left(incoming))) == LONG["answer"]
            with pytest.raises(Interrupted):
                await anext(events)
        kept = await heir.reply(incoming.chat, incoming.event_id)
        assert kept is not None
        assert kept.state == "done"


async def test_reasoning_that_was_cut_off_goes_on(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("think")
    await until(first, incoming, ThinkingDelta, 3)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    thoughts = "".join(event.text for event in after if isinstance(event, ThinkingDelta))
    assert 0 < len(thoughts) < len(THOUGHT)
    assert started(after).thinking + thoughts == THOUGHT
    assert said(after) == "forty two"


async def test_an_answer_that_had_ended_is_not_generated_again(
    inference: LocalInference, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    before = await until(first, incoming, Ended)
    monkeypatch.setattr(inference, "stream", None)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert started(after).text == LONG["answer"]
    assert after[1:] == [before[-1]]


async def test_what_was_shown_whole_is_nothing_to_repeat(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    for text in ("short", "/help"):
        incoming = first.incoming(text)
        events = await whole(first, incoming)
        name = events[0].id if isinstance(events[0], Notice) else started(events).answer_id
        await storage.record_shown(incoming.chat, name)
        assert await whole(Chat(inference, storage=storage), left(incoming)) == []


async def test_a_command_is_done_once_and_said_again(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("/temperature 0.3")
    (before,) = await whole(first, incoming)
    await first.say("/temperature 0.5")
    (after,) = await whole(Chat(inference, storage=storage), left(incoming))
    assert isinstance(after, Notice)
    assert after == before
    assert after.again
    assert await storage.preferences("test:ann") == {"temperature": "0.5"}


async def test_a_failure_is_said_again_and_not_tried_again(
    inference: LocalInference, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("", pictures=[b"bad"])
    before = await whole(first, incoming)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert isinstance(after[-1], Failed)
    assert after[-1] == before[-1]


async def test_captions_stand_above_what_goes_on(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("how long is this?", pictures=[b"12345"])
    await until(first, incoming, TextDelta, 5)
    after = await whole(Chat(inference, storage=storage), replace(left(incoming), pictures=()))
    assert started(after).captions == ("a picture of 5 bytes",)
    assert started(after).text + said(after) == LONG["answer"]


async def test_captions_alone_come_from_the_store(inference: LocalInference, storage: Storage) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("", pictures=[b"1", b"22"])
    before = await until(first, incoming, Ended)
    after = await whole(Chat(inference, storage=storage), replace(left(incoming), pictures=()))
    assert (started(after).captions, started(after).text) == (("a picture of 1 bytes", "a picture of 2 bytes"), "")
    assert after[1:] == [before[-1]]


async def test_the_request_is_kept_with_the_seed_that_was_used(
    inference: LocalInference, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[ChatRequest] = []
    stream = inference.stream

    def spying(request: ChatRequest) -> object:
        requests.append(request)
        return stream(request)

    monkeypatch.setattr(inference, "stream", spying)
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    await until(first, incoming, TextDelta, 5)
    await first.say("/seed 7")
    await whole(Chat(inference, storage=storage), left(incoming))
    before, after = requests
    assert before.sampling.seed is not None
    assert (after.messages, after.sampling.seed) == (before.messages, before.sampling.seed)
    assert after.sampling.max_new_tokens < before.sampling.max_new_tokens


async def test_the_request_names_the_model_and_its_revision(
    inference: LocalInference, storage: Storage, tmp_path: Path
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    await until(first, incoming, TextDelta, 2)
    kept = await storage.claim(ReplyRecord(chat=incoming.chat, event_id=incoming.event_id, answer_id="x", person="p"))
    assert kept is not None
    asked = read_asked(kept.request)
    assert (asked.model, asked.revision) == ("scripted:script.jsonl", inference.info.revision)
    assert len(asked.revision) == 16
    older = json.loads(kept.request)
    del older["revision"]
    assert read_asked(json.dumps(older)) == replace(asked, revision="")


@pytest.mark.parametrize("text", ["long", "think"])
async def test_the_figures_are_those_of_the_whole_answer(
    inference: LocalInference, storage: Storage, text: str
) -> None:
    first = Chat(inference, storage=storage)
    await first.say("/max_tokens 100")
    incoming = first.incoming(text)
    await until(first, incoming, TextDelta if text == "long" else ThinkingDelta, 9)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    end = after[-1]
    assert isinstance(end, Ended)
    if text == "long":
        assert (end.reason, end.usage.completion_tokens) == ("length", 100)
    else:
        assert end.usage.completion_tokens in (2, 3)
        assert end.usage.thinking_tokens >= len(THOUGHT.split())
    assert end.timings.total_s >= end.timings.queued_s >= 0


@pytest.mark.parametrize("pictures", [[], [b"1234"]])
async def test_usage_is_what_the_footers_say_though_a_stop_came_between(
    tmp_path: Path, storage: Storage, pictures: list[bytes]
) -> None:
    lines = script(tmp_path, LONG, THINK, SHORT)
    async with scripted_inference(lines) as inference:
        chat = Chat(inference, storage=storage)
        incoming = chat.incoming("how long?" if pictures else "long", pictures=pictures)
        events: list[ReplyEvent] = []

        async def respond() -> None:
            with pytest.raises(Interrupted):
                await gather(chat, incoming, events)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(respond())
            while not any(isinstance(event, TextDelta) for event in events):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await inference.drain(0.0)
    assert await storage.usage(["test:ann"], "") == {}
    async with scripted_inference(lines) as inference:
        end = (await whole(Chat(inference, storage=storage), replace(left(incoming), pictures=())))[-1]
    assert isinstance(end, Ended)
    (used,) = (await storage.usage(["test:ann"], "")).values()
    tokens = end.usage.completion_tokens + end.usage.thinking_tokens
    assert (used.answers, used.tokens, used.captions) == (1, tokens, len(pictures))
    assert tokens >= 150


async def test_a_continued_answer_that_was_cut_off_has_its_own_budget(
    inference: LocalInference, storage: Storage
) -> None:
    first = Chat(inference, storage=storage)
    await first.say("/max_tokens 100")
    begun = await first.say("long")
    incoming = first.incoming("/continue")
    await until(first, incoming, TextDelta, 2)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert started(after).text.startswith(said(begun))
    assert started(after).text + said(after) == LONG["answer"]


async def test_an_engine_that_cannot_go_on_closes_with_a_sentence(
    inference: LocalInference, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    await until(first, incoming, TextDelta, 5)
    monkeypatch.setattr(inference._engine, "_info", replace(inference.info, captioner=None, continues=False))
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert started(after).text
    assert isinstance(after[-1], Failed)
    assert after[-1].actions == (Action.REGENERATE,)


async def gather(chat: Chat, incoming: Incoming, to: list[ReplyEvent]) -> None:
    async with aclosing(chat.events(incoming)) as stream:
        async for event in stream:
            to.append(event)  # noqa: PERF401


@pytest.mark.parametrize("text", ["long", "think", "/continue"])
async def test_a_stop_of_the_program_leaves_what_a_crash_leaves(
    inference: LocalInference, storage: Storage, text: str
) -> None:
    first = Chat(inference, storage=storage)
    if text == "/continue":
        await first.say("/max_tokens 100")
        await first.say("long")
    running, waiting = first.incoming(text), first.incoming("short")
    events: list[ReplyEvent] = []
    others: list[ReplyEvent] = []

    async def respond(incoming: Incoming, to: list[ReplyEvent]) -> None:
        with pytest.raises(Interrupted):
            await gather(first, incoming, to)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(respond(running, events))
        while not any(isinstance(event, TextDelta | ThinkingDelta) for event in events):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        tasks.create_task(respond(waiting, others))
        while not others:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await inference.drain(0.0)
    assert not any(isinstance(event, Ended | Failed) for event in [*events, *others])
    kept = await storage.reply(running.chat, running.event_id)
    assert kept is not None
    assert (kept.state, kept.ending) == ("streaming", "")
    turn = await storage.turn(started(events).answer_id)
    assert turn is not None
    assert turn.state == "streaming"
    assert await storage.usage(["test:ann"], "") == ({} if text != "/continue" else ANY)


async def test_a_full_queue_makes_what_goes_on_wait(
    inference: LocalInference, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Chat(inference, storage=storage)
    incoming = first.incoming("long")
    await until(first, incoming, TextDelta, 5)
    stream, refusals = inference.stream, [Busy(0.01), Busy(0.01)]

    async def busy(request: ChatRequest) -> AsyncIterator[object]:
        if refusals:
            raise refusals.pop()
        async for event in stream(request):
            yield event

    monkeypatch.setattr(inference, "stream", busy)
    after = await whole(Chat(inference, storage=storage), left(incoming))
    assert started(after).text + said(after) == LONG["answer"]
    assert not refusals


async def handle(chat: Chat, incoming: Incoming, outboxes: Outboxes, channel: Channel) -> None:
    """As a platform handles an event that it has recorded."""
    async with aclosing(chat.bot.respond(incoming)) as events:
        outcome = await outboxes.deliver(channel, incoming.chat, events, reply_to=None, record=chat.storage)
    if outcome.is_settled:
        await chat.storage.answered("test:bot", incoming.event_id)


async def lives(
    moments: int, inference: LocalInference, storage: Storage, incoming: Incoming, platform: Platform
) -> bool:
    """Whether a process that dies after so many moments has done its work before."""
    life = Life(moments)
    chat = Chat(inference, storage=life.storage(storage))
    channel = life.channel(SimulatedChannel(platform, incoming.chat, LIMITS))
    async with asyncio.TaskGroup() as group, Outboxes(phrases=PHRASES) as outboxes:
        death = group.create_task(life.dead.wait())
        work = group.create_task(handle(chat, incoming, outboxes, channel))
        await asyncio.wait([death, work], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        # Once is not enough: what cleans up after itself waits for a storage that never answers again.
        while life.dead.is_set() and (rest := asyncio.all_tasks() - {asyncio.current_task()}):
            for task in rest:
                task.cancel()
            await asyncio.sleep(0)
    return not life.dead.is_set()


@pytest.mark.parametrize("text", ["long", "think", "short", "/help", "picture", "asked picture"])
async def test_whenever_it_dies_everything_is_shown_once(inference: LocalInference, text: str) -> None:
    for moments in count(0 if EVERY == 1 else random.randrange(EVERY), EVERY):
        storage, platform = MemoryStorage(), Platform()
        pictures = [b"12345"] if "picture" in text else []
        words = {"picture": "", "asked picture": "how long is this?"}.get(text, text)
        incoming = Chat(inference).incoming(words, pictures=pictures)
        await storage.receive([Received(account="test:bot", id=incoming.event_id, chat=incoming.chat, payload="")])
        survived = await lives(moments, inference, storage, incoming, platform)
        if not survived:
            assert await lives(-1, inference, storage, left(incoming), platform)
        assert await storage.unanswered("test:bot") == []
        check(platform, incoming, inference.info, moments)
        if survived:
            assert moments > 5
            return


def check(platform: Platform, incoming: Incoming, info: ModelInfo, moments: int) -> None:
    chat = platform.chat(incoming.chat)
    shown = [message.frames[-1] for message in chat.visible]
    assert not any(frame.growing or frame.failure for frame in shown), moments
    words = " ".join(frame.markdown for frame in shown).split()
    if incoming.text == "/help":
        assert words == wording.help_text(info).split(), moments
    elif "long" in incoming.text:
        quotes = [">", "a", "picture", "of", "5", "bytes"] if incoming.pictures else []
        assert words == quotes + str(LONG["answer"]).split(), moments
        assert list(chat.files) == ["answer.md"], moments
        assert len(chat.all_files) == 1, moments
    else:
        expected = {"think": "forty two", "short": "a few words", "": "a picture of 5 bytes"}
        assert words == expected[incoming.text].split(), moments
