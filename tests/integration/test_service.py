"""The shared service over the scripted engine: order, cancel, budgets, limits, drain; here and over HTTP."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.api import (
    BadImage,
    Busy,
    CaptionRequest,
    ChatRequest,
    Event,
    Finished,
    Inference,
    Interrupted,
    Message,
    OutOfMemory,
    Queued,
    Sampling,
    Service,
    Text,
    Thinking,
    TooLong,
    Unavailable,
)
from inference.engines.port import Closed, Opened, Output, Piece
from inference.engines.scripted import ScriptedEngine, tokens
from inference.serving import service as service_module
from inference.serving.service import LocalInference
from tests.fakes import script, scripted_inference, served

SLOW = {"match": "slow", "answer": "word " * 1000, "tokens_per_s": 200}
THINK = {"match": "think", "answer": "<think>" + "hm " * 50 + "</think>\n\nforty two"}


def request(text: str, *, owner: str = "ann", id: str = "r", prefix: str = "", **sampling: int | None) -> ChatRequest:
    settings = Sampling(**sampling)  # type: ignore[arg-type]
    return ChatRequest(id=id, messages=(Message("user", text),), sampling=settings, owner=owner, prefix=prefix)


async def collect(inference: Inference, chat: ChatRequest) -> list[Event]:
    async with aclosing(inference.stream(chat)) as events:
        return [event async for event in events]


def text_of(events: list[Event], kind: type[Text] | type[Thinking] = Text) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def finished(events: list[Event]) -> Finished:
    assert [type(event) for event in events].count(Finished) == 1
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.fixture(params=["local", "remote"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def service_at(where: str, path: Path, **options: Any) -> AsyncIterator[Service]:
    """The service in this process, or the same one over HTTP."""
    async with scripted_inference(path, **options) as local:
        if where == "local":
            yield local
            return
        async with served(local) as remote:
            yield remote


@pytest.fixture
async def inference(where: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with service_at(where, script(tmp_path, SLOW, THINK), slots=2) as service:
        yield service


async def rest(stream: AsyncGenerator[Event, None]) -> list[Event]:
    return [event async for event in stream]


async def begun(inference: Inference, chat: ChatRequest) -> AsyncGenerator[Event, None]:
    """A stream whose request the service has for certain."""
    stream = inference.stream(chat)
    await anext(stream)
    return stream


async def test_one_answer(inference: Service) -> None:
    events = await collect(inference, request("say this back"))
    end = finished(events)
    assert text_of(events) == "say this back"
    assert (end.reason, end.usage.completion_tokens) == ("stop", 3)
    assert end.timings.time_to_first_token_s is not None


async def test_tokens_that_come_at_once_count_to_what_they_are(tmp_path: Path) -> None:
    line = {"match": "think", "answer": f"<think>{'hm ' * 50}</think>\n\n{'ho ' * 50}", "tokens_per_s": 1e9}
    async with scripted_inference(script(tmp_path, line)) as local:
        usage = finished(await collect(local, request("think"))).usage
    assert 45 <= usage.thinking_tokens <= 55
    assert usage.thinking_tokens + usage.completion_tokens >= 100


async def test_reasoning_is_apart_from_the_answer(inference: Service) -> None:
    events = await collect(inference, request("think"))
    assert text_of(events) == "forty two"
    assert text_of(events, Thinking) == "hm " * 50
    assert finished(events).usage.thinking_tokens > 40


async def test_a_spent_budget_closes_the_reasoning_and_the_answer_follows(inference: Service) -> None:
    events = await collect(inference, request("think", thinking_budget=5))
    assert text_of(events) == "forty two"
    assert len(text_of(events, Thinking)) < len("hm " * 50) - 30
    assert finished(events).reason == "stop"


class Stepping(ScriptedEngine):
    """Says one token at a time and has read before what it finds in its cache, as engines with weights do."""

    read = 0

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        prompt = await self.count_tokens(request.messages) + len(tokens(request.prefix))
        cached, self.read = min(self.read, prompt), prompt
        async with aclosing(super().generate(request)) as outputs:
            async for output in outputs:
                if isinstance(output, Closed):
                    yield replace(output, cached_tokens=cached, prompt_tokens=prompt)
                elif not isinstance(output, Piece):
                    yield output
                else:
                    for token in tokens(output.text):
                        self.read += 1
                        yield Piece(token, 1)


@asynccontextmanager
async def stepping(where: str, path: Path, context_tokens: int) -> AsyncIterator[Inference]:
    local = LocalInference(Stepping(path, context_tokens=context_tokens), clock=time.monotonic)
    await local.start()
    if where == "local":
        yield local
    else:
        async with served(local) as remote:
            yield remote
    await local.close()


@pytest.mark.parametrize("budget", [1024, None])
async def test_reasoning_leaves_the_answer_a_part_of_the_context(
    where: str, tmp_path: Path, budget: int | None
) -> None:
    async with stepping(where, script(tmp_path, THINK), 40) as inference:
        events = await collect(inference, request("think", thinking_budget=budget))
    assert text_of(events) == "forty two"
    assert finished(events).reason == "stop"
    assert finished(events).usage.thinking_tokens == 27, "of 35, a quarter is kept"


async def test_an_estimate_of_the_prompt_does_not_shorten_the_reasoning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def generate(request: ChatRequest) -> AsyncGenerator[Output, None]:
        yield Opened(39, thinking=True, counted=False)
        for _ in range(20):
            yield Piece("hm ", 1)
        yield Piece("</think>\n\n42", 1)
        yield Closed("stop", 21, 0)

    async with scripted_inference(script(tmp_path), context_tokens=40) as local:
        monkeypatch.setattr(local._engine, "generate", generate)
        events = await collect(local, request("x"))
    assert text_of(events) == "42"
    assert finished(events).usage.thinking_tokens == 20


async def test_reasoning_that_fills_the_context_ends_with_length(where: str, tmp_path: Path) -> None:
    async with stepping(where, script(tmp_path, THINK), 8) as inference:
        events = await collect(inference, request("think"))
    assert text_of(events, Thinking)
    assert (finished(events).reason, text_of(events)) == ("length", "")


@pytest.mark.parametrize(("question", "cached"), [("think", 5), ("muse", 0)], ids=["cut", "ended"])
async def test_the_prompt_is_counted_once_where_the_reasoning_is_closed(
    where: str, tmp_path: Path, question: str, cached: int
) -> None:
    muse = {"match": "muse", "answer": "<think>" + "hm " * 20}
    async with stepping(where, script(tmp_path, THINK, muse), 8192) as inference:
        usage = finished(await collect(inference, request(question, thinking_budget=30))).usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (5, cached)
    assert usage.thinking_tokens >= 20


async def test_max_new_tokens_counts_the_answer_alone(inference: Service) -> None:
    events = await collect(inference, request("think", max_new_tokens=1))
    end = finished(events)
    assert (end.reason, end.usage.completion_tokens, text_of(events)) == ("length", 1, "forty")


async def test_a_reasoning_model_that_does_not_reason_keeps_to_its_tokens(tmp_path: Path) -> None:
    async with scripted_inference(script(tmp_path, SLOW)) as inference:
        engine = inference._engine
        assert isinstance(engine, ScriptedEngine)
        engine._info = replace(engine.info, reasoning=True)
        end = finished(await collect(inference, request("slow", max_new_tokens=7)))
    assert (end.reason, end.usage.completion_tokens) == ("length", 7)


async def test_a_prefix_is_continued_not_repeated(inference: Service) -> None:
    events = await collect(inference, request("say this back", prefix="say this"))
    assert text_of(events) == " back"


async def test_cancel_ends_the_stream_with_cancelled(inference: Service) -> None:
    events: list[Event] = []
    async with aclosing(inference.stream(request("slow", id="x"))) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == 3:
                inference.cancel("x")
    assert finished(events).reason == "cancelled"
    assert finished(events).usage.completion_tokens >= 3


async def test_cancel_while_waiting(inference: Service) -> None:
    busy = [await begun(inference, request("slow", id=f"b{n}", owner=f"o{n}")) for n in range(2)]
    stream = inference.stream(request("slow", id="w"))
    assert isinstance(await anext(stream), Queued)
    inference.cancel("w")
    rest = [event async for event in stream]
    assert finished(rest).reason == "cancelled"
    for number, other in enumerate(busy):
        inference.cancel(f"b{number}")
        assert finished([event async for event in other]).reason == "cancelled"


async def test_a_closed_stream_frees_its_slot(inference: Service) -> None:
    for number in range(20):
        async with aclosing(inference.stream(request("slow", id=f"r{number}"))) as stream:
            await anext(stream)
    assert finished(await collect(inference, request("hello"))).timings.queued_s < 1


async def test_a_cancelled_task_frees_its_slot(inference: Service) -> None:
    for number in range(5):
        task = asyncio.ensure_future(collect(inference, request("slow", id=f"r{number}")))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert text_of(await collect(inference, request("hello"))) == "hello"


async def test_a_full_queue_says_when_to_come_again(where: str, tmp_path: Path) -> None:
    async with service_at(where, script(tmp_path, SLOW), slots=1, max_waiting=1) as inference:
        first = inference.stream(request("slow", id="1", owner="a"))
        second = inference.stream(request("slow", id="2", owner="b"))
        await anext(first)
        assert await anext(second) == Queued(1, None)
        with pytest.raises(Busy) as busy:
            await collect(inference, request("slow", id="3", owner="c"))
        assert busy.value.retry_in_s > 0
        await second.aclose()
        await first.aclose()
        assert text_of(await collect(inference, request("hi", id="4"))) == "hi"


async def test_whoever_has_the_most_gives_way_and_is_told_so(where: str, tmp_path: Path) -> None:
    async with service_at(where, script(tmp_path, SLOW), slots=1, max_waiting=2) as inference:
        running = inference.stream(request("slow", id="1", owner="telegram:a"))
        await anext(running)
        waiting = [await begun(inference, request("slow", id=f"{n}", owner="telegram:a")) for n in (2, 3)]
        other = inference.stream(request("hi", id="4", owner="telegram:b"))
        assert isinstance(await anext(other), Queued)
        with pytest.raises(Busy) as busy:
            await rest(waiting[1])
        assert (busy.value.gave_way, busy.value.retry_in_s > 0) == (True, True)
        again = await begun(inference, request("hi", id="5", owner="telegram:a"))
        await waiting[0].aclose()
        await running.aclose()
        assert [text_of(each) for each in await asyncio.gather(rest(again), rest(other))] == ["hi", "hi"]


async def test_guests_give_way_to_somebody_who_is_known(where: str, tmp_path: Path) -> None:
    async with service_at(where, script(tmp_path, SLOW), slots=1, max_waiting=3) as inference:
        streams = []
        for number in range(4):
            guest = replace(request("slow", id=f"{number}", owner=f"web:{number}"), standing="guest")
            streams.append(await begun(inference, guest))
        with pytest.raises(Busy):
            await collect(inference, replace(request("hi", id="4", owner="web:4"), standing="guest"))
        known = inference.stream(replace(request("hi", id="5", owner="web:5"), standing="known"))
        assert await anext(known) == Queued(1, None)
        with pytest.raises(Busy) as busy:
            await rest(streams[3])
        assert busy.value.gave_way
        await streams[0].aclose()
        assert text_of(await rest(known)) == "hi"
        for stream in streams:
            await stream.aclose()


async def test_one_owner_waits_for_themselves_not_for_others_to_finish(inference: Service) -> None:
    hogs = [await begun(inference, request("slow", id=f"h{n}", owner="hog")) for n in range(6)]
    quiet = inference.stream(request("hello", id="q", owner="quiet"))
    assert await anext(quiet) == Queued(1, None)
    inference.cancel("h0")
    assert finished([event async for event in hogs[0]]).reason == "cancelled"
    assert text_of([event async for event in quiet]) == "hello"
    for hog in hogs[1:]:
        await hog.aclose()


async def test_a_prompt_over_the_context_is_refused_with_both_numbers(where: str, tmp_path: Path) -> None:
    async with service_at(where, script(tmp_path), context_tokens=10) as inference:
        with pytest.raises(TooLong) as error:
            await collect(inference, request("a b c d e f g h"))
        assert (error.value.limit, error.value.tokens) == (10, 12)


async def test_captions_pass_while_text_is_busy(inference: Service) -> None:
    stream = inference.stream(request("slow"))
    await anext(stream)
    caption = await inference.caption(CaptionRequest(id="c", image=b"1234", owner="ann"))
    assert caption.text == "a picture of 4 bytes"
    with pytest.raises(BadImage):
        await inference.caption(CaptionRequest(id="d", image=b"", owner="ann"))
    await stream.aclose()


async def test_drain_lets_answers_finish_and_takes_nothing_new(inference: Service) -> None:
    quick, slow = [await begun(inference, request(name, id=name)) for name in ("think", "slow")]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(inference.drain(0.5))
        await asyncio.sleep(0)
        with pytest.raises(Interrupted):
            await collect(inference, request("late", id="late"))
        ended = tasks.create_task(rest(quick))
        with pytest.raises(Interrupted):
            await rest(slow)
    assert finished(ended.result()).reason == "stop"


async def test_what_a_stop_leaves_is_never_cancelled_and_a_persons_stop_is(inference: Service) -> None:
    """Running, waiting, and a picture: what nobody stopped is given up by an exception."""
    streams = [await begun(inference, request("slow", id=f"r{n}", owner=f"o{n}")) for n in range(4)]
    inference.cancel("r3")
    assert finished(await rest(streams.pop())).reason == "cancelled"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(inference.drain(0.1))
        for stream in streams:
            with pytest.raises(Interrupted):
                await rest(stream)
    with pytest.raises(Interrupted):
        await inference.caption(CaptionRequest(id="c", image=b"1234", owner="ann"))
    await inference.close()
    with pytest.raises(Interrupted):
        await collect(inference, request("later", id="later"))


async def test_count_tokens_is_the_engines(inference: Service) -> None:
    assert await inference.count_tokens([Message("user", "say this back")]) == 7


async def test_an_id_in_use_is_refused(inference: Service) -> None:
    stream = await begun(inference, request("slow", id="same"))
    with pytest.raises(Unavailable, match="in use"):
        await collect(inference, request("hello", id="same"))
    await stream.aclose()


async def test_the_deadline_ends_an_answer_with_length(where: str, tmp_path: Path) -> None:
    async with service_at(where, script(tmp_path, SLOW), deadline_s=0.3) as inference:
        events = await collect(inference, request("slow"))
    assert finished(events).reason == "length"
    assert text_of(events)


async def test_the_deadline_ends_a_wait_with_busy(tmp_path: Path) -> None:
    async with scripted_inference(script(tmp_path, SLOW), slots=1, deadline_s=0.3) as inference:
        holding = await begun(inference, request("slow", id="1", owner="a"))
        with pytest.raises(Busy):
            await collect(inference, request("slow", id="2", owner="b"))
        await holding.aclose()


class Greedy(ScriptedEngine):
    """Has memory for `most` at once, and for a "huge" request not at all."""

    most = 64
    running = 0

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        self.running += 1
        try:
            yield Opened(len(request.messages[0].content))
            await asyncio.sleep(0)
            if "huge" in request.messages[0].content or self.running > self.most:
                raise OutOfMemory("CUDA out of memory")
            async with aclosing(super().generate(request)) as outputs:
                async for output in outputs:
                    if not isinstance(output, Opened):
                        yield output
        finally:
            self.running -= 1


@asynccontextmanager
async def greedy(
    path: Path, where: str = "local", *, most: int = 64
) -> AsyncIterator[tuple[LocalInference, Inference]]:
    engine = Greedy(path, slots=4)
    engine.most = most
    local = LocalInference(engine, clock=time.monotonic)
    await local.start()
    async with served(local) as remote:
        yield local, local if where == "local" else remote
    await local.close()


ANSWER = "word " * 20
BRIEF = {"match": "brief", "answer": ANSWER, "tokens_per_s": 400}


async def test_a_request_that_lacks_memory_by_itself_costs_nobody_a_slot(where: str, tmp_path: Path) -> None:
    async with greedy(script(tmp_path, BRIEF), where) as (local, inference):
        for number in range(3):
            brief = [request("brief", id=f"r{number}.{n}", owner=f"o{n}") for n in range(3)]
            others = [asyncio.create_task(collect(local, each)) for each in brief]
            await asyncio.sleep(0)
            with pytest.raises(OutOfMemory):
                await collect(inference, request("huge", id=f"big{number}", owner="z"))
            assert local.load.slots["text"] == 4
            assert [text_of(await other) for other in others] == [ANSWER] * 3
        with pytest.raises(OutOfMemory):
            await collect(inference, request("huge and more", id="alone", owner="z"))
        assert local.load.slots["text"] == 4


async def test_a_size_that_is_known_to_fail_holds_nobody_back(tmp_path: Path) -> None:
    async with greedy(script(tmp_path, SLOW)) as (local, _):
        with pytest.raises(OutOfMemory):
            await collect(local, request("huge", id="1", owner="z"))
        running = await begun(local, request("slow", id="s"))
        for number in range(20):
            with pytest.raises(OutOfMemory):
                await collect(local, request("huge", id=f"h{number}", owner=f"z{number}"))
        assert local.load.slots["text"] == 4
        await running.aclose()


async def test_what_is_together_too_much_is_answered_one_by_one_and_the_slots_come_back(tmp_path: Path) -> None:
    async with greedy(script(tmp_path, BRIEF), most=2) as (local, _):
        asked = [collect(local, request("brief", id=f"r{n}", owner=f"o{n}")) for n in range(4)]
        assert [text_of(events) for events in await asyncio.gather(*asked)] == [ANSWER] * 4
        assert local.load.slots["text"] < 4
        for number in range(40):
            await collect(local, request("brief and more", id=f"g{number}"))
        assert local.load.slots["text"] == 4
        assert not local._chats._alone


async def test_others_that_do_not_end_are_not_waited_for_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_ALONE_S", 0.05)
    async with greedy(script(tmp_path, SLOW)) as (local, _):
        running = [await begun(local, request("slow", id=f"r{n}", owner=f"o{n}")) for n in range(3)]
        with pytest.raises(OutOfMemory):
            await collect(local, request("huge", id="big", owner="z"))
        assert local.load.slots["text"] == 3, "a slot less than were in use"
        for stream in running:
            await stream.aclose()


async def test_a_person_who_stops_while_others_are_waited_for_frees_the_lane(tmp_path: Path) -> None:
    async with greedy(script(tmp_path, SLOW)) as (local, _):
        running = await begun(local, request("slow", id="s"))
        stopped = asyncio.create_task(collect(local, request("huge", id="big", owner="z")))
        async with asyncio.timeout(10):
            while not local._chats._alone:  # noqa: ASYNC110
                await asyncio.sleep(0)
        local.cancel("big")
        assert finished(await stopped).reason == "cancelled"
        assert text_of(await collect(local, request("hello", id="h"))) == "hello"
        await running.aclose()


async def test_a_deadline_without_a_word_is_a_failure(tmp_path: Path) -> None:
    late = {"match": "late", "answer": "x", "first_token_s": 60}
    async with scripted_inference(script(tmp_path, late), deadline_s=0.2) as inference:
        with pytest.raises(Unavailable, match="deadline"):
            await collect(inference, request("late"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"match": "a"}', "answer"),
        ('{"match": "(", "answer": ""}', "line 1"),
        ('{"match": "a", "answer": "b", "speed": 3}', "speed"),
        ('{"match": "a", "answer": "b", "tokens_per_s": 0}', "above 0"),
        ("[]", "line 1"),
        ("{", "line 1"),
    ],
)
async def test_a_wrong_script_is_refused_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(Unavailable, match="line 1") as error:
        await ScriptedEngine(path).start()
    assert words in str(error.value)
