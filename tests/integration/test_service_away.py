"""A service that is away is waited for: what is asked waits, what was under way goes on, and a Stop ends the wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bots import wording
from bots.messages import Ended, QueueUpdate
from inference.api import (
    Busy,
    CaptionRequest,
    ChatRequest,
    Event,
    Finished,
    Interrupted,
    Message,
    ModelInfo,
    Queued,
    Sampling,
    Text,
    Thinking,
    Unavailable,
)
from inference.engines.scripted import ScriptedEngine
from inference.http.client import RemoteInference
from inference.http.server import chat as chat_server
from inference.http.server.routes import InferenceServer, ServerBounds
from inference.http.wire import write_info
from inference.queueing.admission import AdmissionBounds
from inference.reasoning.splitter import Splitter
from inference.serving.resumption import Resumption
from inference.serving.service import LocalInference
from tests.fakes import Chat, FakeCaptioner, said, script

KEY = "the key"
STORY = {"match": "story", "answer": " ".join(f"word{n}" for n in range(120)), "tokens_per_s": 400}
THINK = {"match": "think", "answer": "<think>" + " ".join(f"hm{n}" for n in range(80)) + "</think>\n\nforty two"}
THINK["tokens_per_s"] = 400  # type: ignore[assignment]


class Service:
    """`partyline serve` at one address, which goes away and comes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self.bounds = AdmissionBounds()
        self.slots = 8
        self._stack = AsyncExitStack()

    async def come(self) -> str:
        self.local = LocalInference(
            ScriptedEngine(self.path, slots=self.slots), FakeCaptioner(), bounds=self.bounds, clock=time.monotonic
        )
        await self.local.start()
        server = InferenceServer(self.local, KEY, ServerBounds(port=self.port))
        address = await self._stack.enter_async_context(server.serving())
        self._stack.push_async_callback(self.local.close)
        self.port = int(address.rpartition(":")[2])
        return address

    async def stop(self) -> None:
        """As by SIGTERM."""
        await self.local.drain(0.0)
        await self._stack.aclose()

    async def vanish(self) -> None:
        """As by `kill -9`: no word to anybody."""
        self.local.close = _nothing  # type: ignore[method-assign]
        for transport in [*_transports(asyncio.get_running_loop(), self.port)]:
            transport.abort()
        await self._stack.aclose()


def _transports(loop: Any, port: int) -> list[Any]:
    """Those of the server's side."""
    found = [transport for transport in loop._transports.values() if hasattr(transport, "abort")]
    return [each for each in found if (each.get_extra_info("sockname") or ("", 0))[1] == port]


async def _nothing() -> None:
    pass


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(script(tmp_path, STORY, THINK))
    await service.come()
    yield service
    await service.stop()


@pytest.fixture
async def remote(service: Service) -> AsyncIterator[RemoteInference]:
    remote = RemoteInference(f"http://127.0.0.1:{service.port}", KEY, clock=time.monotonic)
    await remote.start()
    yield remote
    await remote.close()


def ask(text: str, id: str = "r", **sampling: Any) -> ChatRequest:
    return ChatRequest(id=id, messages=(Message("user", text),), sampling=Sampling(**sampling), owner="ann")


async def collect(inference: RemoteInference, request: ChatRequest, events: list[Event] | None = None) -> list[Event]:
    events = [] if events is None else events
    async with aclosing(inference.stream(request)) as stream:
        async for event in stream:
            events.append(event)
    return events


def text_of(events: list[Event], kind: type[Text] | type[Thinking] = Text) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


async def talk(chat: Chat, text: str, events: list[Any], **more: Any) -> None:
    async with aclosing(chat.events(chat.incoming(text, **more))) as answer:
        async for event in answer:
            events.append(event)  # noqa: PERF401


async def until(found: Any) -> None:
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["stop", "vanish"])
@pytest.mark.parametrize("text", ["story", "think"])
async def test_what_was_under_way_goes_on_from_its_text(
    service: Service, remote: RemoteInference, text: str, how: str
) -> None:
    kind = Text if text == "story" else Thinking
    events: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(remote, ask(text, max_new_tokens=400), events))
        for _ in range(2):
            before = len(text_of(events, kind))
            await until(lambda before=before: len(text_of(events, kind)) > before + 20)
            await getattr(service, how)()
            await until(lambda: events[-1] == Queued(0, None))
            await service.come()
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.reason == "stop"
    if text == "story":
        assert text_of(events) == STORY["answer"]
        # The whole answer, not what the last service said of it.
        assert end.usage.completion_tokens >= 119
    else:
        assert text_of(events, Thinking) == " ".join(f"hm{n}" for n in range(80))
        assert text_of(events) == "forty two"
        assert end.usage.thinking_tokens >= 79


async def test_budgets_are_those_of_the_whole_answer(service: Service, remote: RemoteInference) -> None:
    events: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(remote, ask("story", max_new_tokens=100), events))
        await until(lambda: len(text_of(events)) > 100)
        await service.vanish()
        await service.come()
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.usage.completion_tokens) == ("length", 100)
    assert len(text_of(events).split()) in (99, 100)


async def test_what_is_asked_meanwhile_waits(service: Service, remote: RemoteInference) -> None:
    await service.stop()
    events: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(remote, ask("story"), events))
        caption = tasks.create_task(remote.caption(CaptionRequest(id="c", image=b"1234", owner="ann")))
        count = tasks.create_task(remote.count_tokens([Message("user", "say this back")]))
        await until(lambda: events == [Queued(0, None)])
        await service.come()
    assert text_of(events) == STORY["answer"]
    assert caption.result().text == "a picture of 4 bytes"
    assert count.result() == 7


async def test_who_waited_for_the_service_waits_for_a_place_in_its_queue(
    service: Service, remote: RemoteInference
) -> None:
    await service.stop()
    service.bounds, service.slots = AdmissionBounds(max_waiting=1), 1
    asked = [replace(ask("think", id=f"r{n}"), owner=f"o{n}") for n in range(5)]
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(collect(remote, request)) for request in asked]
        await asyncio.sleep(0.2)
        await service.come()
    assert all(text_of(answer.result()) == "forty two" for answer in answers)
    holding = [remote.stream(replace(ask("story", id=f"h{n}"), owner=f"h{n}")) for n in range(2)]
    for stream in holding:
        await anext(stream)
    with pytest.raises(Busy):
        await collect(remote, ask("story"))
    for stream in holding:
        await stream.aclose()


async def test_a_stop_ends_the_wait_at_once(service: Service, remote: RemoteInference) -> None:
    await service.stop()
    events: list[Event] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(remote, ask("story"), events))
        await until(lambda: events == [Queued(0, None)])
        remote.cancel("r")
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    await service.come()


async def test_a_bot_that_is_stopped_meanwhile_leaves_it_for_the_next_start(
    service: Service, remote: RemoteInference
) -> None:
    await service.stop()
    events: list[Event] = []
    with pytest.RaisesGroup(Interrupted):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collect(remote, ask("story"), events))
            await until(lambda: events == [Queued(0, None)])
            async with asyncio.timeout(5):
                await remote.drain(60)
    await service.come()


async def test_patience_ends(service: Service) -> None:
    remote = RemoteInference(f"http://127.0.0.1:{service.port}", KEY, clock=time.monotonic, patience_s=0.3)
    await remote.start()
    await service.stop()
    with pytest.raises(Unavailable, match="away"):
        await collect(remote, ask("story"))
    with pytest.raises(Unavailable, match="away"):
        await remote.caption(CaptionRequest(id="c", image=b"1", owner="ann"))
    with pytest.raises(Unavailable, match="away"):
        await remote.count_tokens([Message("user", "x")])
    await remote.close()
    await service.come()


async def test_a_request_under_which_services_die_does_not_kill_them_for_ever(
    service: Service, remote: RemoteInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = 0

    async def die(*_: Any) -> None:
        nonlocal deaths
        deaths += 1
        for transport in _transports(asyncio.get_running_loop(), service.port):
            transport.abort()

    monkeypatch.setattr("inference.http.server.chat.complete", die)
    with pytest.raises(Unavailable, match="under the request"):
        await collect(remote, ask("story"))
    assert deaths == 5


async def test_a_request_under_which_services_die_costs_nobody_else_an_answer(
    service: Service, remote: RemoteInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, deaths = chat_server.complete, 0

    async def complete_or_die(request: web.Request, body: Any, *more: Any) -> web.StreamResponse:
        nonlocal deaths
        if "poison" not in str(body):
            await asyncio.sleep(0.1)  # longer than a death takes, so nobody's text proves anything
            return await complete(request, body, *more)
        deaths += 1
        for transport in _transports(asyncio.get_running_loop(), service.port):
            transport.abort()
        return web.Response()

    monkeypatch.setattr(chat_server, "complete", complete_or_die)
    events: list[list[Event]] = [[] for _ in range(3)]
    async with asyncio.TaskGroup() as tasks:
        for number, own in enumerate(events):
            tasks.create_task(collect(remote, ask("story", id=f"r{number}", max_new_tokens=400), own))
        await until(lambda: all(len(text_of(own)) > 20 for own in events))
        with pytest.raises(Unavailable, match="under the request"):
            await collect(remote, ask("poison", id="p"))
    assert [text_of(own) for own in events] == [STORY["answer"]] * 3
    assert deaths <= 5


async def test_another_model_is_learnt_when_the_service_is_back(
    service: Service, remote: RemoteInference, tmp_path: Path
) -> None:
    events: list[Event] = []
    before = remote.info
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect(remote, ask("story"), events))
        await until(lambda: len(text_of(events)) > 20)
        await service.stop()
        service.path = service.path.rename(tmp_path / "another.jsonl")
        await service.come()
    assert text_of(events) == STORY["answer"]
    assert remote.info.name == "scripted:another.jsonl" != before.name
    # Nothing was under way when it was started again: the first question finds out.
    await service.stop()
    service.path = service.path.rename(tmp_path / "third.jsonl")
    await service.come()
    assert text_of(await collect(remote, ask("story"))) == STORY["answer"]
    assert remote.info == service.local.info


async def test_a_patient_start_waits_and_a_wrong_key_ends_it(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"http://127.0.0.1:{service.port}"
    await service.stop()
    caplog.set_level("INFO", "inference.http.client")
    patient = RemoteInference(address, KEY, clock=time.monotonic, patient=True)
    wrong = RemoteInference(address, "wrong", clock=time.monotonic, patient=True)
    hasty = RemoteInference(address, KEY, clock=time.monotonic)
    with pytest.raises(Unavailable, match="not reached"):
        await hasty.start()
    async with asyncio.TaskGroup() as tasks:
        starting, refused = tasks.create_task(patient.start()), asyncio.ensure_future(wrong.start())
        await until(lambda: caplog.text.count("waiting for") == 2)
        assert not starting.done()
        await service.come()
        with pytest.raises(Unavailable, match="PARTYLINE_INFERENCE__API_KEY"):
            await refused
    assert patient.info == service.local.info
    for each in (hasty, patient, wrong):
        await each.close()


async def test_no_address_of_a_service_ends_a_patient_start() -> None:
    for address in ("gpu:8081", "http://", "ftp://gpu:1"):
        remote = RemoteInference(address, KEY, clock=time.monotonic, patient=True)
        with pytest.raises(Unavailable, match="no address"):
            async with asyncio.timeout(5):
                await remote.start()
        await remote.close()


async def test_the_bot_says_that_the_model_is_away_and_answers_when_it_is_back(
    service: Service, remote: RemoteInference
) -> None:
    chat = Chat(remote)
    await service.stop()
    events: list[Any] = []

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk(chat, "story", events))
        await until(lambda: QueueUpdate(0, None) in events)
        await service.come()
    assert said(events) == STORY["answer"]
    assert isinstance(events[-1], Ended)
    assert "away" in wording.waiting(0, None)


async def test_a_stop_ends_the_bots_wait_whatever_it_waits_for(service: Service, remote: RemoteInference) -> None:
    chat = Chat(remote)
    await service.stop()
    for pictures in ([], [b"1234"]):
        events: list[Any] = []

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk(chat, "story", events, pictures=pictures))
            await until(lambda events=events: QueueUpdate(0, None) in events)
            await chat.say("/stop")
        assert isinstance(events[-1], Ended)
        assert events[-1].reason == "cancelled"
    await service.come()


@pytest.mark.parametrize("prefix", ["", "<think>a", "<think>a\n</think>\n\nx"])
async def test_reasoning_after_text_is_handed_on_as_reasoning(prefix: str) -> None:
    """In the middle of an answer the mark of its beginning would be text."""

    async def count(messages: Sequence[Message]) -> int:
        return 1

    messages = (Message("user", "hi"),)
    request = ChatRequest(id="r", messages=messages, sampling=Sampling(), owner="ann", prefix=prefix)
    resumption = Resumption(request)
    for event in (Text("b"), Thinking("c"), Text("d"), Thinking("e")):
        resumption.take(event)
    rest = await resumption.rest(count)
    splitter = Splitter()
    parts = splitter.feed(rest.prefix) + splitter.close()
    thought, said = ("".join(text for kind, text in parts if kind == wanted) for wanted in ("thinking", "answer"))
    assert ("".join(thought.split()), said) == (("a" if prefix else "") + "ce", ("x" if "x" in prefix else "") + "bd")


async def test_a_proxy_that_finds_no_service_is_waited_for() -> None:
    """Some say 503 of a service that is not there, in words of their own."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) < 3:
            return web.Response(status=503, text="<html>no backend</html>")
        return web.json_response({"object": "list", "data": [write_info(ModelInfo(name="m", context_tokens=8))]})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        remote = RemoteInference(f"http://127.0.0.1:{server.port}", KEY, clock=time.monotonic, patient=True)
        await remote.start()
        assert remote.info.name == "m"
        await remote.close()
