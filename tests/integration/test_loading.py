"""What comes while the model is loaded: it is told, recorded, and answered then, whatever happens to the process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bots import wording
from bots.messages import Ended, Failed, Notice, QueueUpdate, ReplyEvent
from inference.api import Busy, ChatRequest, Event, Interrupted, Loading, Unavailable
from inference.engines.scripted import ScriptedEngine
from inference.http.client import RemoteInference
from inference.http.server.routes import InferenceServer, ServerBounds
from inference.queueing.admission import AdmissionBounds
from inference.serving.service import LocalInference
from tests.fakes import Chat, FakeCaptioner, said, script
from tests.integration.telegram_parts import answer_to
from tests.integration.test_kill import free_port
from tests.integration.test_telegram_process import partyline
from tests.servers.telegram import telegram, until

MATHS = {"match": "9", "answer": "forty two"}
pytestmark = pytest.mark.timeout(120)


class Slow(ScriptedEngine):
    """Is loaded when the test says so; `share` is what the test sets."""

    def __init__(self, folder: Path, fails: Exception | None = None) -> None:
        super().__init__(script(folder, MATHS))
        self.come = asyncio.Event()
        self._fails = fails

    async def start(self) -> None:
        await self.come.wait()
        if self._fails:
            raise self._fails
        await super().start()


@asynccontextmanager
async def loading(engine: Slow, eyes: FakeCaptioner | None = None, **bounds: Any) -> AsyncIterator[LocalInference]:
    inference = LocalInference(engine, eyes or FakeCaptioner(), bounds=AdmissionBounds(**bounds), clock=time.monotonic)
    start = asyncio.ensure_future(inference.start())
    try:
        yield inference
    finally:
        start.cancel()
        await asyncio.wait([start])
        await inference.close()


async def collected(events: AsyncGenerator[ReplyEvent, None], into: list[ReplyEvent]) -> None:
    async with aclosing(events) as all_of_them:
        async for event in all_of_them:
            into.append(event)  # noqa: PERF401  the test looks at it meanwhile


async def test_a_question_waits_with_the_share_that_is_loaded_and_is_answered(tmp_path: Path) -> None:
    engine, events = Slow(tmp_path), list[ReplyEvent]()
    async with loading(engine) as inference, asyncio.TaskGroup() as tasks:
        chat = Chat(inference)
        tasks.create_task(collected(chat.events(chat.incoming("6 * 9")), events))
        await until(lambda: QueueUpdate(0, None, Loading()) in events)
        engine.share = 0.42
        await until(lambda: QueueUpdate(0, None, Loading(share=0.4)) in events)
        engine.come.set()
        await until(lambda: events and isinstance(events[-1], Ended))
    assert said(events) == "forty two"
    assert [event.loading for event in events if isinstance(event, QueueUpdate)] == [Loading(), Loading(share=0.4)]


def test_what_people_read_has_a_number_only_where_there_is_one() -> None:
    assert wording.loading(Loading(share=0.4)) == "The model is loading (40 %)…"
    assert wording.loading(Loading()) == "The model is loading…"
    assert "pictures" in wording.loading(Loading("pictures"))
    assert "safe" in wording.loading(Loading(state="failed"))


async def test_a_question_can_be_stopped_while_the_model_is_loaded(tmp_path: Path) -> None:
    events = list[ReplyEvent]()
    async with loading(Slow(tmp_path)) as inference, asyncio.TaskGroup() as tasks:
        chat = Chat(inference)
        tasks.create_task(collected(chat.events(chat.incoming("6 * 9")), events))
        await until(lambda: any(isinstance(event, QueueUpdate) for event in events))
        (stopped,) = await chat.say("/stop")
        await until(lambda: isinstance(events[-1], Ended))
    assert stopped == Notice("Stopped.", private=True)
    assert isinstance(events[-1], Ended)
    assert events[-1].reason == "cancelled"


async def test_everybody_who_waited_for_the_model_finds_a_place(tmp_path: Path) -> None:
    """The queue has room for two, and nobody is sent away who came before it could move."""
    engine, events = Slow(tmp_path), [list[ReplyEvent]() for _ in range(9)]
    async with loading(engine, max_waiting=2) as inference, asyncio.TaskGroup() as tasks:
        chat = Chat(inference)
        for number, own in enumerate(events):
            tasks.create_task(collected(chat.events(chat.incoming("9", f"person {number}")), own))
        await until(lambda: all(any(isinstance(event, QueueUpdate) for event in own) for own in events))
        engine.come.set()
        await until(lambda: all(own and isinstance(own[-1], Ended | Failed) for own in events))
    assert [said(own) for own in events] == ["forty two"] * 9


class Thorough(FakeCaptioner):
    async def caption(self, image: bytes, prompt: str, owner: str) -> str:
        await asyncio.sleep(0.01)
        return await super().caption(image, prompt, owner)


@pytest.mark.parametrize("words", ["", "how many? 9"])
async def test_pictures_that_waited_for_the_model_find_a_place(tmp_path: Path, words: str) -> None:
    engine, events = Slow(tmp_path), [list[ReplyEvent]() for _ in range(9)]
    async with loading(engine, Thorough(), max_waiting=2) as inference, asyncio.TaskGroup() as tasks:
        chat = Chat(inference)
        for number, own in enumerate(events):
            asked = chat.incoming(words, f"person {number}", pictures=[b"1234"])
            tasks.create_task(collected(chat.events(asked), own))
        await until(lambda: all(any(isinstance(event, QueueUpdate) for event in own) for own in events))
        engine.come.set()
        await until(lambda: all(own and isinstance(own[-1], Ended | Failed) for own in events))
    assert [type(own[-1]) for own in events] == [Ended] * 9


@pytest.mark.parametrize("pictures", [[], [b"1234"]], ids=["words", "a picture"])
async def test_what_was_taken_on_before_a_restart_finds_a_place(tmp_path: Path, pictures: list[bytes]) -> None:
    """Of a bot alone, whose service went on."""
    slow = {"match": "9", "answer": "forty two", "first_token_s": 0.05}
    engine = ScriptedEngine(script(tmp_path, slow), slots=1)
    inference = LocalInference(engine, Thorough(), bounds=AdmissionBounds(max_waiting=2), clock=time.monotonic)
    await inference.start()
    chat = Chat(inference)
    left = [chat.incoming("9", f"person {number}", pictures, new=False) for number in range(9)]
    events = [list[ReplyEvent]() for _ in left]
    async with asyncio.TaskGroup() as tasks:
        for incoming, own in zip(left, events, strict=True):
            tasks.create_task(collected(chat.events(incoming), own))
    await inference.close()
    assert [said(own) for own in events] == ["forty two"] * 9


async def test_who_waits_for_a_place_after_a_restart_can_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inference = LocalInference(ScriptedEngine(script(tmp_path, MATHS)), clock=time.monotonic)
    await inference.start()
    stream, asked = inference.stream, list[ChatRequest]()

    async def busy_at_first(request: ChatRequest) -> AsyncGenerator[Event, None]:
        asked.append(request)
        if len(asked) == 1:
            raise Busy(0.3)
        async with aclosing(stream(request)) as events:
            async for event in events:
                yield event

    monkeypatch.setattr(inference, "stream", busy_at_first)
    chat, events = Chat(inference), list[ReplyEvent]()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collected(chat.events(chat.incoming("9", new=False)), events))
        await until(lambda: asked)
        await chat.say("/stop")
    await inference.close()
    assert said(events) == ""
    assert isinstance(events[-1], Ended)
    assert events[-1].reason == "cancelled"


DEFECTS = [RuntimeError("odd"), OSError("torn"), MemoryError(), AttributeError("another version")]


@pytest.mark.parametrize("why", [Unavailable("no memory"), *DEFECTS], ids=lambda why: type(why).__name__)
async def test_a_model_that_cannot_be_loaded_is_told_and_marks_nothing(tmp_path: Path, why: Exception) -> None:
    engine, events = Slow(tmp_path, fails=why), list[ReplyEvent]()
    inference = LocalInference(engine, clock=time.monotonic)
    chat = Chat(inference)
    incoming = chat.incoming("6 * 9")
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_ended(collected(chat.events(incoming), events)))
        start = tasks.create_task(_ended(inference.start()))
        await until(lambda: QueueUpdate(0, None, Loading()) in events)
        engine.come.set()
        assert isinstance(await start, Unavailable)
        await until(lambda: QueueUpdate(0, None, Loading(state="failed")) in events)
        await inference.drain(0.0)
        assert isinstance(await asked, Interrupted)
    await inference.close()
    kept = await chat.storage.reply(incoming.chat, incoming.event_id)
    assert kept is not None
    assert not kept.ending


async def _ended(work: Any) -> BaseException | None:
    try:
        await work
    except Exception as error:
        return error
    return None


async def test_a_service_that_loads_is_waited_for_with_its_share(tmp_path: Path) -> None:
    engine, events = Slow(tmp_path), list[ReplyEvent]()
    async with loading(engine) as local:
        server = InferenceServer(local, "key", ServerBounds(port=0))
        async with server.serving() as address, asyncio.TaskGroup() as tasks:
            remote = RemoteInference(address, "key", clock=time.monotonic, patient=True)
            tasks.create_task(remote.start())
            chat = Chat(remote)
            # What looks at pictures is not known yet either: nobody is sent away for that.
            tasks.create_task(collected(chat.events(chat.incoming("how many? 9", pictures=[b"1234"])), events))
            engine.share = 0.42
            await until(lambda: QueueUpdate(0, None, Loading(share=0.4)) in events)
            engine.come.set()
            await until(lambda: events and isinstance(events[-1], Ended | Failed))
            await remote.close()
    assert said(events) == "forty two"


async def test_a_service_that_is_not_there_is_away(tmp_path: Path) -> None:
    remote = RemoteInference(f"http://127.0.0.1:{free_port()}", "key", clock=time.monotonic, patient=True)
    events = list[ReplyEvent]()
    chat = Chat(remote)
    start = asyncio.ensure_future(remote.start())
    asked = asyncio.ensure_future(_ended(collected(chat.events(chat.incoming("hello")), events)))
    await until(lambda: QueueUpdate(0, None) in events)
    start.cancel()
    await remote.drain(0.0)
    assert isinstance(await asked, Interrupted)
    await remote.close()


@pytest.mark.parametrize("defect", [None, *DEFECTS], ids=lambda why: type(why).__name__)
async def test_a_service_that_cannot_be_used_is_told_of(
    monkeypatch: pytest.MonkeyPatch, defect: Exception | None
) -> None:
    """As `partyline ask` has it, which does not wait for a service that is away (None)."""
    remote = RemoteInference(f"http://127.0.0.1:{free_port()}", "key", clock=time.monotonic)
    events = list[ReplyEvent]()
    if defect is not None:
        monkeypatch.setattr("inference.http.client._state", Failing(defect))
        monkeypatch.setattr("inference.http.client._spoken", Failing(defect))
    chat = Chat(remote)
    asked = asyncio.ensure_future(_ended(collected(chat.events(chat.incoming("hello")), events)))
    assert isinstance(await _ended(remote.start()), Unavailable)
    await until(lambda: QueueUpdate(0, None, Loading(state="failed")) in events)
    await remote.drain(0.0)
    assert isinstance(await asked, Interrupted)
    await remote.close()


class Failing:
    def __init__(self, defect: Exception) -> None:
        self._defect = defect

    async def __call__(self, call: Any) -> Any:
        call.close()
        raise self._defect


class Eyes(FakeCaptioner):
    """Loads until the test lets it see."""

    def __init__(self) -> None:
        super().__init__()
        self.see = asyncio.Event()

    async def caption(self, image: bytes, prompt: str, owner: str) -> str:
        self.loads = True
        await self.see.wait()
        self.loads = False
        return await super().caption(image, prompt, owner)


@pytest.mark.parametrize("over_http", [False, True])
async def test_a_first_picture_says_what_it_waits_for(tmp_path: Path, over_http: bool) -> None:
    eyes, events = Eyes(), list[ReplyEvent]()
    local = LocalInference(ScriptedEngine(script(tmp_path, MATHS)), eyes, clock=time.monotonic)
    await local.start()
    async with InferenceServer(local, "key", ServerBounds(port=0)).serving() as address:
        remote = RemoteInference(address, "key", clock=time.monotonic)
        await remote.start()
        chat = Chat(remote if over_http else local)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collected(chat.events(chat.incoming("", pictures=[b"1234"])), events))
            await until(lambda: QueueUpdate(0, None, Loading("pictures")) in events)
            eyes.see.set()
            await until(lambda: isinstance(events[-1], Ended))
        await remote.close()
    await local.close()


# The program as a process


async def test_platforms_poll_before_the_model_is_there_and_the_question_is_answered_after_a_kill(
    tmp_path: Path,
) -> None:
    lines = script(tmp_path, MATHS)
    quick = lines.read_text()
    async with telegram() as server:
        ann = server.person()
        lines.write_text(quick + '\n{"loading_s": 600}')
        async with partyline(tmp_path, server) as process:
            question = ann.says("6 * 9")
            message = await until(lambda: next((m for m in ann.private.answers if "The model is load" in m.text), None))
            assert "0 %" in message.text
            process.kill()
        lines.write_text(quick + '\n{"loading_s": 1}')
        async with partyline(tmp_path, server) as process:
            answer = await answer_to(question, ann.private)
            await until(lambda: "forty two" in answer.text)
        assert len(ann.private.answers) == 1, "in the message that said that the model was loading"


@pytest.mark.parametrize("how", ["term", "fails"])
async def test_a_start_that_ends_while_the_model_is_loaded_loses_nothing(tmp_path: Path, how: str) -> None:
    pipe, whole = tmp_path / "script.jsonl", script(tmp_path, MATHS).read_text()
    pipe.unlink()
    os.mkfifo(pipe)  # the start waits for what is in it
    async with telegram() as server:
        ann = server.person()
        async with partyline(tmp_path, server) as process:
            writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
            question = ann.says("6 * 9")
            await until(lambda: any("The model is loading…" in m.text for m in ann.private.answers))
            if how == "term":
                process.terminate()
                await process.wait()  # while the thread that loads still waits
            else:
                os.write(writer, b"this is no script")
            os.close(writer)
            _, heard = await process.communicate()
            assert process.returncode == (0 if how == "term" else 1)
            if how == "fails":
                assert heard.decode().count("partyline: ") == 1
                assert "line 1 of the script" in heard.decode()
                assert "safe" in ann.private.answers[0].text
        pipe.unlink()
        pipe.write_text(whole)
        async with partyline(tmp_path, server):
            answer = await answer_to(question, ann.private)
            await until(lambda: "forty two" in answer.text)
        assert len(ann.private.answers) == 1


async def test_ask_says_what_it_waits_for(tmp_path: Path) -> None:
    pipe, whole = tmp_path / "script.jsonl", script(tmp_path, MATHS).read_text()
    pipe.unlink()
    os.mkfifo(pipe)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARTYLINE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from adapters.cli import main; main()", "ask", "6 * 9"),
        cwd=tmp_path,
        env=environ | {"PARTYLINE_MODEL": f"scripted:{pipe}", "PARTYLINE_CAPTIONER": ""},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stderr is not None
    with await asyncio.to_thread(pipe.open, "w") as writer:
        assert await process.stderr.readline() == "The model is loading…\n".encode()
        writer.write(whole)
        pipe.unlink()
        pipe.write_text(whole)  # it is read once more
    out, heard = await process.communicate()
    assert out.decode() == "forty two\n"
    assert "ready" in heard.decode()
