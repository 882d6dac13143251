"""An engine that dies or hangs is replaced and its requests go on; cancelling at random moments leaks nothing."""

import asyncio
import gc
import logging
import random
import threading
import time
import tracemalloc
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bots.messages import Ended, QueueUpdate, TextDelta
from inference.api import ChatRequest, Finished, Interrupted, Message, OutOfMemory, Sampling, Text, Unavailable
from inference.engine_factory import engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.port import Closed, Died, Engine, Opened, Output, Piece, Progress
from inference.engines.scripted import ScriptedEngine
from inference.queueing.admission import AdmissionBounds
from inference.serving import supervisor
from inference.serving.service import LocalInference
from inference.serving.supervisor import SupervisedEngine
from tests import checkpoints
from tests.fakes import Chat, said, script, served
from tests.servers.telegram import until

pytestmark = pytest.mark.timeout(900)
"""Real engines beside whatever else runs: everything below waits for a condition, and this alone ends a test."""
SLOW = {"match": "slow", "answer": "word " * 1000, "tokens_per_s": 200}
STORY = {"match": "story", "answer": "once upon a time there was a queue", "tokens_per_s": 400}


@pytest.fixture(autouse=True)
def patient_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound engine is never buried because its answer to a check was slow on a busy machine."""
    monkeypatch.setattr(supervisor, "_CHECK_S", 600.0)


class Frail(ScriptedEngine):
    """Fails after `after` outputs: "dies" (of what may be a lack of memory: "drowns"), "hangs", "starves" (memory for
    one request), or "lies" (any other exception)."""

    fails: str = ""
    after: int = 2

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        left = self.after
        async with aclosing(super().generate(request)) as outputs:
            async for output in outputs:
                if self.fails and left == 0:
                    await self._fail()
                left -= 1
                yield output

    async def check(self) -> None:
        if self.fails in ("dies", "drowns", "hangs"):
            await self._fail()

    async def _fail(self) -> None:
        if self.fails == "dies":
            raise Died("the thread is gone")
        if self.fails == "drowns":
            raise Died("the request failed: out of memory")
        if self.fails == "starves":
            raise MemoryError("no")
        if self.fails == "hangs":
            await asyncio.Event().wait()
        raise ValueError("a defect")


class Makers:
    """Makes engines: those named in `fails` first, sound ones after them."""

    def __init__(self, path: Path, *fails: str, after: int = 2, holds_prefix: bool = True) -> None:
        self._path, self._fails, self._after, self._holds_prefix = path, list(fails), after, holds_prefix
        self.made: list[Frail] = []

    def __call__(self) -> Frail:
        engine = Frail(self._path, slots=4)
        engine._info = replace(engine.info, holds_prefix=self._holds_prefix)
        engine.fails, engine.after = (self._fails.pop(0) if self._fails else ""), self._after
        self.made.append(engine)
        return engine


def ask(text: str, id: str = "r", owner: str = "ann") -> ChatRequest:
    return ChatRequest(id=id, messages=(Message("user", text),), sampling=Sampling(), owner=owner)


async def outputs(engine: SupervisedEngine, request: ChatRequest) -> list[Output]:
    async with aclosing(engine.generate(request)) as stream:
        return [output async for output in stream]


async def supervised(make: Callable[[], Engine], silence_s: float = 0.3) -> SupervisedEngine:
    engine = SupervisedEngine(make, silence_s=silence_s)
    await engine.start()
    return engine


@pytest.mark.parametrize("fault", ["dies", "drowns", "hangs"])
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_an_answer_goes_on_with_a_new_engine(tmp_path: Path, fault: str, after: int) -> None:
    make = Makers(script(tmp_path, STORY), fault, after=after)
    engine = await supervised(make)
    stream = await outputs(engine, ask("story"))
    assert [type(output) for output in stream].count(Opened) == 1
    assert "".join(output.text for output in stream if isinstance(output, Piece)) == STORY["answer"]
    assert isinstance(stream[-1], Closed)
    assert stream[-1].completion_tokens == sum(output.tokens for output in stream if isinstance(output, Piece))
    assert (engine.restarts, len(make.made)) == (1, 2)


class Moody(ScriptedEngine):
    """Is sound, and says nothing to whoever says "quiet"; reads for `reading_s` before an answer to "long"."""

    reading_s = 1.0

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        text = request.messages[-1].content
        if "quiet" in text:
            yield Opened(1)
            await asyncio.Event().wait()
        if "long" in text:
            for _ in range(20):
                await asyncio.sleep(self.reading_s / 20)
                self.steps += 1
                yield Progress()
        async with aclosing(super().generate(request)) as outputs:
            async for output in outputs:
                yield output


def text_of(stream: list[Output]) -> str:
    return "".join(output.text for output in stream if isinstance(output, Piece))


async def test_a_request_that_hangs_fails_alone_while_the_engine_answers_others(tmp_path: Path) -> None:
    engine = await supervised(partial(Moody, script(tmp_path, SLOW)), silence_s=0.2)
    quiet = asyncio.create_task(outputs(engine, ask("quiet")))
    whole = 0
    while not quiet.done():
        assert text_of(await outputs(engine, ask("slow"))).count("word") == 500
        whole += 1
    with pytest.raises(Unavailable, match="for this request"):
        await quiet
    assert whole
    assert engine.restarts == 0


async def test_a_request_that_hangs_alone_fails_alone_where_the_engine_is_sound(tmp_path: Path) -> None:
    engine = await supervised(partial(Moody, script(tmp_path, STORY)), silence_s=0.2)
    with pytest.raises(Unavailable, match="answered a check"):
        await outputs(engine, ask("quiet"))
    assert engine.restarts == 0


async def test_reading_a_prompt_is_no_silence(tmp_path: Path) -> None:
    engine = await supervised(partial(Moody, script(tmp_path)), silence_s=0.3)
    assert text_of(await outputs(engine, ask("long"))) == "long"
    assert engine.restarts == 0


async def test_an_engine_that_works_on_is_not_replaced_for_a_check_that_waits(tmp_path: Path) -> None:
    """All its slots are taken: the check waits behind them."""

    class Full(Moody):
        async def check(self) -> None:
            while True:
                await asyncio.sleep(0.02)
                self.steps += 1

        async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
            yield Opened(1)
            raise RuntimeError("of this request alone")

    engine = await supervised(partial(Full, script(tmp_path)))
    with pytest.raises(RuntimeError, match="alone"):
        await outputs(engine, ask("x"))
    assert engine.restarts == 0


async def test_an_engine_that_cannot_count_is_replaced_too(tmp_path: Path) -> None:
    make = Makers(script(tmp_path, STORY), "dies")
    engine = await supervised(make)

    async def broken(messages: object) -> int:
        raise Unavailable("llama.cpp did not answer /tokenize")

    make.made[0].count_tokens = broken  # type: ignore[method-assign]
    assert await engine.count_tokens([Message("user", "once upon a time")]) == 8
    assert engine.restarts == 1


LLAMA = LlamaOptions(slots=2, context_tokens=512, threads=1, batch_tokens=16)


class Interposed:
    """llama.cpp's server, with `first` called before every call, in the library's thread."""

    def __init__(self, server: Any, first: Callable[[dict[str, Any]], None], chunk_s: float = 0.0) -> None:
        self._server, self._first, self._chunk_s = server, first, chunk_s

    def handle_completions(self, body: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        self._first(body)

        def slowly(chunk: dict[str, Any]) -> bool:
            time.sleep(self._chunk_s)
            return take(chunk)

        self._server.handle_completions(body, slowly)

    def close(self) -> None:
        self._server.close()


async def supervised_llama(
    first: Callable[[dict[str, Any]], None], chunk_s: float, silence_s: float
) -> SupervisedEngine:
    """The first engine is interposed, those that follow are not."""
    engine = SupervisedEngine(lambda: engine_for("demo", LLAMA), silence_s=silence_s)
    await engine.start()
    made: Any = engine._engine
    made._server = Interposed(made._server, first, chunk_s)
    return engine


async def test_llama_that_reads_slowly_keeps_its_engine() -> None:
    engine = await supervised_llama(lambda body: None, 0.2, 3.0)
    try:
        # Some 25 steps of reading, of which each is far within the limit and all are far beyond it.
        request = replace(ask("sea " * 400), sampling=Sampling(max_new_tokens=2))
        assert isinstance((await outputs(engine, request))[-1], Closed)
        assert engine.restarts == 0
    finally:
        await engine.close()


async def test_llama_that_raises_whatever_is_asked_is_replaced() -> None:
    def broken(body: dict[str, Any]) -> None:
        raise RuntimeError("ggml_backend_sched_graph_compute_async failed")

    engine = await supervised_llama(broken, 0.0, 600)
    try:
        assert isinstance((await outputs(engine, ask("hello")))[-1], Closed)
        assert engine.restarts == 1
    finally:
        await engine.close()


async def test_llama_that_raises_for_one_request_is_not_replaced() -> None:
    def poisoned(body: dict[str, Any]) -> None:
        if body["n_predict"] == 7:
            raise RuntimeError("of this request alone")

    engine = await supervised_llama(poisoned, 0.0, 600)
    try:
        other = asyncio.create_task(outputs(engine, ask("hello")))
        with pytest.raises(RuntimeError, match="alone"):
            await outputs(engine, replace(ask("x"), sampling=Sampling(max_new_tokens=7)))
        assert isinstance((await other)[-1], Closed)
        assert engine.restarts == 0
    finally:
        await engine.close()


async def test_text_that_cannot_be_continued_stands_and_the_request_fails(tmp_path: Path) -> None:
    engine = await supervised(Makers(script(tmp_path, STORY), "dies", holds_prefix=False))
    said = []
    with pytest.raises(Unavailable):
        async with aclosing(engine.generate(ask("story"))) as stream:
            said += [output async for output in stream]
    assert "".join(o.text for o in await outputs(engine, ask("story")) if isinstance(o, Piece)) == STORY["answer"]


async def test_a_request_that_kills_engines_does_not_kill_them_for_ever(tmp_path: Path) -> None:
    make = Makers(script(tmp_path, STORY), *["dies"] * 9, after=0)
    engine = await supervised(make)
    with pytest.raises(Unavailable):
        await outputs(engine, ask("story"))
    assert len(make.made) == 2


class Poisoned(Frail):
    """Dies with whatever else it does when it is to answer somebody who says "poison"."""

    is_dead = False

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        async with aclosing(super().generate(request)) as outputs:
            async for output in outputs:
                self.is_dead |= "poison" in request.messages[-1].content and isinstance(output, Piece)
                if self.is_dead:
                    raise Died("the thread is gone")
                yield output


@pytest.mark.parametrize("poisons", [1, 2])
async def test_a_request_that_kills_engines_costs_nobody_else_an_answer(tmp_path: Path, poisons: int) -> None:
    path = script(tmp_path, {"match": "story", "answer": "word " * 60, "tokens_per_s": 200})
    made = list[Poisoned]()

    def make() -> Poisoned:
        engine = Poisoned(path, slots=8)
        engine._info = replace(engine.info, holds_prefix=True)
        made.append(engine)
        return engine

    engine = await supervised(make, silence_s=600)
    others = [engine.generate(ask("a long story", id=f"r{number}")) for number in range(3)]
    seen = [[await anext(other), await anext(other)] for other in others]
    rest = [asyncio.create_task(_collected(other)) for other in others]
    killers = [engine.generate(ask(f"a story of poison {number}", id=f"p{number}")) for number in range(poisons)]
    ends = await asyncio.gather(*map(_collected, killers), return_exceptions=True)
    assert [type(end) for end in ends] == [Unavailable] * poisons
    for before, after in zip(seen, await asyncio.gather(*rest), strict=True):
        assert text_of([*before, *after]) == "word " * 60
    assert len(made) <= 1 + 2 + poisons
    assert not engine._suspects.line.locked()


async def test_what_is_known_of_a_dead_engine_is_known_until_the_next_one_has_started(tmp_path: Path) -> None:
    """The next one does not know yet that it can go on from a text, nor how its model reasons."""

    class Learns(ScriptedEngine):
        async def start(self) -> None:
            await starts.wait()
            await super().start()
            self._info = replace(self._info, holds_prefix=True, reasoning=True)

    path, starts = script(tmp_path, STORY), asyncio.Event()
    starts.set()
    engine = await supervised(lambda: Learns(path), silence_s=600)
    streams = [engine.generate(ask("story", id=f"r{number}")) for number in range(3)]
    seen = [[await anext(stream), await anext(stream)] for stream in streams]
    starts.clear()
    engine._bury(engine._engine, "somebody found out")
    rest = [asyncio.create_task(_collected(stream)) for stream in streams]
    await until(lambda: engine._revival is not None)
    await asyncio.sleep(0)
    assert (engine.info.holds_prefix, engine.info.reasoning) == (True, True)
    late = engine.generate(ask("story", id="late"))
    rest.append(asyncio.create_task(_collected(late)))
    starts.set()
    for before, after in zip([*seen, []], await asyncio.gather(*rest), strict=True):
        assert text_of([*before, *after]) == STORY["answer"]


async def _collected(stream: AsyncGenerator[Output, None]) -> list[Output]:
    return [output async for output in stream]


async def test_running_and_waiting_requests_all_go_on(tmp_path: Path) -> None:
    make = Makers(script(tmp_path, STORY), "hangs")
    service = LocalInference(await supervised(make), clock=time.monotonic)
    await service.start()

    async def answer(number: int) -> str:
        async with aclosing(service.stream(ask("story", id=f"r{number}", owner=f"o{number}"))) as events:
            return "".join([event.text async for event in events if isinstance(event, Text)])

    assert set(await asyncio.gather(*map(answer, range(12)))) == {STORY["answer"]}
    assert len(make.made) == 2
    await service.close()


@pytest.mark.parametrize("after", [0, 3])
async def test_a_person_is_told_that_the_answer_waits_for_a_new_engine(tmp_path: Path, after: int) -> None:
    """As where the model is behind `partyline serve`."""
    make = Makers(script(tmp_path, STORY), "dies", after=after)
    service = LocalInference(await supervised(make), clock=time.monotonic)
    await service.start()
    chat = Chat(service)
    events = [event async for event in chat.events(chat.incoming("story"))]
    assert events.count(QueueUpdate(0, None)) == 1
    texts = [index for index, event in enumerate(events) if isinstance(event, TextDelta)]
    assert sum(index < events.index(QueueUpdate(0, None)) for index in texts) == max(0, after - 1)
    assert said(events) == STORY["answer"]
    assert isinstance(events[-1], Ended)
    await service.close()


async def test_an_engine_that_does_not_come_back_is_waited_for_and_tried_again_by_the_next_request(
    tmp_path: Path,
) -> None:
    path = script(tmp_path, STORY)
    make = Makers(path, "dies", after=2)
    engine = await supervised(make)
    moved = path.rename(tmp_path / "elsewhere")
    first = asyncio.ensure_future(outputs(engine, ask("story")))
    while not engine.lost:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not first.done()
    moved.rename(path)
    for stream in (await outputs(engine, ask("story", id="next")), await first):
        assert text_of(stream) == STORY["answer"]
    assert engine.restarts == 1


async def test_an_engine_that_does_not_come_back_is_not_ready_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(engine: Frail) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    engine = await supervised(Makers(script(tmp_path, STORY), "dies", after=0))
    service = LocalInference(engine, bounds=AdmissionBounds(deadline_s=0.3), clock=time.monotonic)
    await service.start()

    def state() -> str:
        return service.readiness.state

    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "_AGAIN_S", 0.01)
        patch.setattr(Frail, "start", broken)
        # What is asked waits, but not for ever.
        with pytest.raises(Unavailable, match="deadline"):
            assert [event async for event in service.stream(ask("story"))] == []
        with pytest.raises(Unavailable, match="deadline"):
            await service.count_tokens([Message("user", "story")])
        assert state() == "restarting"
    # Nobody has to ask for that.
    while state() != "ready":  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert isinstance((await outputs(engine, ask("story")))[-1], Closed)
    await service.close()


async def test_a_closed_engine_is_not_tried_again(tmp_path: Path) -> None:
    path = script(tmp_path, STORY)
    engine = await supervised(Makers(path, "dies", after=0))
    path.unlink()
    waiting = asyncio.ensure_future(outputs(engine, ask("story")))
    while not engine.lost:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await engine.close()
    # Never a failure: the next start goes on with it.
    with pytest.raises(Interrupted):
        await waiting
    assert engine._again is not None
    assert engine._again.cancelled()


async def test_whoever_was_not_waiting_when_the_engine_died_goes_on_too(tmp_path: Path) -> None:
    """A dead engine says nothing more to them, not even that it has died."""
    make = Makers(script(tmp_path, STORY), "dies", after=3)
    engine = await supervised(make, silence_s=600)
    slow = engine.generate(ask("story", id="slow"))
    seen = [await anext(slow), await anext(slow)]
    make.made[0].fails = "hangs"
    engine._bury(make.made[0], "another request found out")
    seen += [output async for output in slow]
    assert text_of(seen) == STORY["answer"]


async def test_an_engine_that_comes_back_while_all_is_closed_is_closed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that loads in a thread does not hear that nobody wants the model any more."""
    began, go_on = asyncio.Event(), asyncio.Event()
    started: list[Frail] = []

    async def start(engine: Frail) -> None:
        began.set()
        await go_on.wait()
        started.append(engine)

    closed: list[Frail] = []

    async def close(engine: Frail) -> None:
        closed.append(engine)

    makers = Makers(script(tmp_path, STORY), "dies", after=0)
    engine = await supervised(makers)
    monkeypatch.setattr(Frail, "start", start)
    monkeypatch.setattr(Frail, "close", close)
    async with asyncio.TaskGroup() as tasks:
        waiting = asyncio.ensure_future(outputs(engine, ask("story")))
        await began.wait()
        closing = tasks.create_task(engine.close())
        await asyncio.sleep(0)
        go_on.set()
        await closing
    with pytest.raises(Interrupted):
        await waiting
    assert started == makers.made[1:]
    assert closed == makers.made


async def test_a_batch_that_dies_is_replaced_and_gone_before_the_next_one_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # What pytest keeps of the log has the traceback, and with it the model.
    caplog.set_level(logging.CRITICAL, "ContinuousBatchingLogger")
    reference = str(checkpoints.chatml(tmp_path))
    options = LlamaOptions(slots=2, context_tokens=256, threads=1)
    engine = SupervisedEngine(lambda: engine_for(reference, options), silence_s=600)
    await engine.start()

    def broken(**given: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    model = engine._engine._loaded.batch.model  # type: ignore[attr-defined]
    model.forward = broken
    first = weakref.ref(model)
    del model
    try:
        stream = await outputs(engine, ask("the sea"))
        assert isinstance(stream[-1], Closed)
        assert engine.restarts == 1
        assert first() is None
    finally:
        await engine.close()


async def test_a_defect_is_no_death_and_no_memory_is_the_requests_own_failure(tmp_path: Path) -> None:
    make = Makers(script(tmp_path, STORY), "lies")
    engine = await supervised(make)
    with pytest.raises(ValueError, match="defect"):
        await outputs(engine, ask("story"))
    engine = await supervised(Makers(script(tmp_path, STORY), "starves"))
    with pytest.raises(OutOfMemory):
        await outputs(engine, ask("story"))
    assert engine.restarts == 0


async def cancelled(service: LocalInference, number: int, dice: random.Random) -> None:
    """One answer that is given up at a random moment, in one of the three ways there are."""
    request = ask("slow", id=f"r{number}", owner=f"o{number % 7}")
    way, moment = dice.randrange(3), dice.random() * 0.02

    async def read() -> Finished | None:
        async with aclosing(service.stream(request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event
                if way == 0 and dice.random() < 0.1:
                    return None
        return None

    task = asyncio.ensure_future(read())
    await asyncio.sleep(moment)
    if way == 1:
        task.cancel()
    else:
        service.cancel(request.id)
    await asyncio.wait([task])
    if not task.cancelled() and (ended := task.result()) is not None:
        assert ended.reason == "cancelled"


def held() -> tuple[int, int, int]:
    """Threads, tasks and bytes of this process."""
    gc.collect()
    return threading.active_count(), len(asyncio.all_tasks()), tracemalloc.get_traced_memory()[0]


def reference_of(engine: str, folder: Path) -> str:
    if engine == "transformers":
        return str(checkpoints.chatml(folder))
    return "demo" if engine == "demo" else f"scripted:{script(folder, SLOW)}"


async def nothing_in_the_batch(service: LocalInference) -> None:
    """What the library and our part of its batch keep of each request, cache blocks included."""
    engine = service._engine._engine  # type: ignore[attr-defined]
    batch = engine._loaded.batch
    while engine.running or batch._dropped:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not batch._members
    assert not batch.output_router.result_handlers
    assert batch.output_router.output_queue.empty()
    cache = batch.batch_processor.cache
    assert not any(allocator.block_table for allocator in cache.cache_allocators.values())
    # What is kept for the next turn of a conversation belongs to no request.
    cache.evict_cached_blocks()
    assert cache.compute_free_capacity() == 1


@pytest.mark.parametrize("engine", ["scripted", "demo", "transformers"])
@pytest.mark.parametrize("where", ["local", "remote"])
async def test_200_cancels_at_random_moments_leak_nothing(tmp_path: Path, engine: str, where: str) -> None:
    reference = reference_of(engine, tmp_path)
    options = LlamaOptions(slots=4, context_tokens=256, threads=1)
    local = LocalInference(
        SupervisedEngine(lambda: engine_for(reference, options), silence_s=600), clock=time.monotonic
    )
    await local.start()
    dice = random.Random(1)
    async with served(local) as remote:
        service = local if where == "local" else remote

        async def round_of(first: int, count: int) -> tuple[int, int, int]:
            for start in range(first, first + count, 8):
                await asyncio.gather(*(cancelled(service, n, dice) for n in range(start, start + 8)))  # type: ignore[arg-type]
            await local._chats.idle.wait()
            return held()

        await round_of(0, 48)
        tracemalloc.start()
        threads, tasks, memory = await round_of(100, 48)
        await round_of(1000, 200)
        # Each of the eight at a time may leave a thread of a pool or a kept connection; what leaks comes 200 times.
        bounds = threads + 8, tasks + 8, memory + 300_000
        while any(now > most for now, most in zip(held(), bounds, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        tracemalloc.stop()
        assert not local._chats._tickets
        assert local._chats._queue.is_blank
        if engine == "transformers":
            await nothing_in_the_batch(local)
        async with aclosing(service.stream(ask("hello", id="last"))) as events:
            assert isinstance([event async for event in events][-1], Finished)
    await local.close()
