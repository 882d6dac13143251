"""`partyline serve` as its clients see it: the official `openai` client, forms, probes, keys, limits."""

import asyncio
import base64
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from yarl import URL

from inference.api import (
    BadImage,
    CaptionRequest,
    ChatRequest,
    Filtered,
    Finished,
    Interrupted,
    Message,
    Queued,
    Reclassified,
    Sampling,
    Text,
    Unavailable,
)
from inference.engines.openai.engine import OpenAIEngine
from inference.engines.openai.server import ServerOptions
from inference.engines.port import Piece
from inference.engines.scripted import ScriptedEngine
from inference.http.client import RemoteInference
from inference.http.server.clients import Client
from inference.http.server.routes import InferenceServer, ServerBounds
from inference.http.wire import read_error, write_error
from inference.serving.service import LocalInference
from tests.fakes import FakeCaptioner, script, scripted_inference
from tests.fakes import served as serving
from tests.integration.test_cli import Partyline

KEY = "the key"
SLOW = {"match": "slow", "answer": "word " * 1000, "tokens_per_s": 200}
THINK = {"match": "think", "answer": "<think>hm hm</think>\n\nforty two"}
ORPHAN = {"match": "orphan", "answer": "hm hm</think>\n\nforty two"}


@dataclass
class Served:
    """One service over HTTP and what speaks to it."""

    address: str
    local: LocalInference
    client: openai.AsyncOpenAI
    http: aiohttp.ClientSession

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.post(self.address + path, json=body, **options) as response:
            return response.status, await response.json()

    async def idle(self) -> None:
        async with asyncio.timeout(60):
            await self.local._chats.idle.wait()


@asynccontextmanager
async def serve(local: LocalInference, clients: Sequence[Client] = (), **bounds: Any) -> AsyncIterator[Served]:
    async with InferenceServer(local, KEY, ServerBounds(port=0, **bounds), clients).serving() as address:
        client = await asyncio.to_thread(openai.AsyncOpenAI, base_url=f"{address}/v1", api_key=KEY, max_retries=0)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
            yield Served(address, local, client, http)
        await client.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with scripted_inference(script(tmp_path, SLOW, THINK, ORPHAN), slots=2) as local, serve(local) as made:
        yield made


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": text}], **more}


async def test_the_official_client_gets_an_answer(served: Served) -> None:
    done = await served.client.chat.completions.create(**chat("say this back", temperature=0.3, seed=5))
    assert done.choices[0].message.content == "say this back"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.completion_tokens, done.usage.total_tokens) == (3, 10)
    models = await served.client.models.list()
    assert [model.id for model in models.data] == [served.local.info.name]


async def test_the_official_client_streams(served: Served) -> None:
    options = {"include_usage": True}
    stream = await served.client.chat.completions.create(**chat("think", stream=True, stream_options=options))
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "forty two"
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "hm hm"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens_details is not None
    # "<think>hm hm</think>": the tokens come one by one, and the last one ends within the answer.
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 3


async def test_every_chunk_has_a_choice_unless_more_was_asked_for(served: Served) -> None:
    for text in ("hello", "orphan"):
        stream = await served.client.chat.completions.create(**chat(text, stream=True))
        assert all([chunk.choices async for chunk in stream])


async def test_text_that_turns_out_to_be_reasoning_is_told_in_process_and_over_http(served: Served) -> None:
    remote = RemoteInference(served.address, KEY, clock=time.monotonic)
    await remote.start()
    request = ChatRequest(id="r", messages=(Message("user", "orphan"),), sampling=Sampling(), owner="ann")
    try:
        for inference in (served.local, remote):
            async with aclosing(inference.stream(request)) as events:
                told = [event async for event in events if not isinstance(event, Queued)]
            at = told.index(Reclassified())
            assert "".join(event.text for event in told[:at] if isinstance(event, Text)) == "hm hm"
            assert "".join(event.text for event in told[at:] if isinstance(event, Text)) == "forty two"
            assert isinstance(told[-1], Finished)
            assert told[-1].usage.thinking_tokens >= 2
            assert told[-1].usage.completion_tokens <= 3
    finally:
        await remote.close()
    done = await served.client.chat.completions.create(**chat("orphan"))
    assert done.choices[0].message.content == "forty two"
    assert getattr(done.choices[0].message, "reasoning_content", None) == "hm hm"


async def test_an_answer_cut_by_max_tokens_says_length(served: Served) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        done = await served.client.chat.completions.create(**chat("slow", **{name: 3}))
        assert done.choices[0].finish_reason == "length"
        assert done.usage is not None
        assert done.usage.completion_tokens == 3


async def test_a_client_that_goes_away_frees_its_slot(served: Served) -> None:
    for _ in range(4):
        stream = await served.client.chat.completions.create(**chat("slow", stream=True))
        await anext(aiter(stream))
        await stream.close()
    await served.idle()
    # Nothing has been sent to this one when it leaves.
    task = asyncio.ensure_future(served.client.chat.completions.create(**chat("slow")))
    while not served.local.load.running["text"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    await served.idle()


def owners(local: LocalInference) -> list[tuple[str, str]]:
    """Of the requests that wait or run: the owner, and how well that one is known."""
    queue = local._chats._queue
    return sorted((job.owner, job.path[0]) for job in [*queue._waiting.values(), *queue._running.values()])


@pytest.mark.parametrize(
    ("key", "more", "owner"),
    [
        (KEY, {}, ("api:partyline", "known")),
        (KEY, {"user": "telegram:4711"}, ("api:partyline/telegram:4711", "guest")),
        (KEY, {"partyline": {"owner": "telegram:4711", "standing": "new"}}, ("telegram:4711", "new")),
        ("key of a report", {"user": "ann"}, ("api:report", "known")),
        ("key of a report", {"partyline": {"owner": "telegram:4711", "standing": "known"}}, ("api:report", "known")),
        ("key of a notebook", {"user": "ann"}, ("api:notebook/ann", "guest")),
        ("key of a notebook", {"user": "telegram:4711"}, ("api:notebook/telegram:4711", "guest")),
        ("key of a notebook", {"partyline": {"owner": "web:1", "standing": "known"}}, ("api:notebook", "known")),
    ],
)
async def test_a_key_is_an_owner_and_names_nobody_elses_people(
    tmp_path: Path, key: str, more: dict[str, Any], owner: tuple[str, str]
) -> None:
    clients = [
        Client(name="report", key=b"key of a report"),
        Client(name="notebook", key=b"key of a notebook", names_users=True),
    ]
    async with (
        scripted_inference(script(tmp_path, SLOW), slots=2) as local,
        InferenceServer(local, KEY, ServerBounds(port=0), clients).serving() as address,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
    ):
        async with http.post(f"{address}/v1/chat/completions", json=chat("slow", stream=True, **more)) as response:
            assert response.status == 200
            await response.content.readline()
            assert owners(local) == [owner]
        form = aiohttp.FormData({"prompt": "I see"} | {name: json.dumps(value) for name, value in more.items()})
        form.add_field("image", b"no picture", filename="x.png")
        async with http.post(f"{address}/v1/captions", data=form) as response:
            assert response.status == 200


@pytest.mark.parametrize("group", ["telegram:-1001", ""])
async def test_a_bot_says_in_which_group_it_was_asked(tmp_path: Path, group: str) -> None:
    person = {"owner": "telegram:4711", "standing": "new", "group": group}
    async with (
        scripted_inference(script(tmp_path, SLOW), slots=2) as local,
        InferenceServer(local, KEY, ServerBounds(port=0)).serving() as address,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http,
        http.post(f"{address}/v1/chat/completions", json=chat("slow", stream=True, partyline=person)) as response,
    ):
        assert response.status == 200
        await response.content.readline()
        (job,) = local._chats._queue._running.values()
        where = ("groups", group) if group else ("private",)
        assert job.path == ("new", "telegram", *where, "telegram:4711")


@pytest.mark.parametrize(
    "person",
    [
        "telegram:4711",
        {"owner": 1, "standing": "new"},
        {"owner": "a", "standing": "king"},
        {"standing": "new"},
        {"owner": "a", "standing": "new", "group": 7},
    ],
)
async def test_a_bot_that_names_nobody_is_told_so(served: Served, person: object) -> None:
    status, body = await served.post("/v1/chat/completions", chat("hi", partyline=person))
    assert (status, body["error"]["param"].partition(".")[0]) == (400, "partyline")


@pytest.mark.parametrize("person", ["[" * 100_000, "[" + "1," * 100_000 + "1]"], ids=["deep", "long"])
async def test_a_form_that_names_a_person_at_length_costs_nobody_else(served: Served, person: str) -> None:
    form = aiohttp.FormData({"partyline": person})
    form.add_field("image", b"1234", filename="x.png")
    async with served.http.post(f"{served.address}/v1/captions", data=form) as response:
        assert (response.status, (await response.json())["error"]["message"]) == (400, "the form is damaged")


async def test_a_form_with_a_charset_that_is_none_is_damaged(served: Served) -> None:
    field = f'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n{"u" * 99}\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    async with served.http.post(f"{served.address}/v1/captions", data=field.encode(), headers=kind) as response:
        assert (response.status, (await response.json())["error"]["message"]) == (400, "the form is damaged")


async def test_no_key_no_answer(served: Served) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer \xe9"}):
        status, body = await served.post("/v1/chat/completions", chat("hi"), headers=headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    other = served.client.with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError):
        await other.models.list()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}] * 2_049}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0]",
        ),
        (chat("hi", temperature=3), "temperature"),
        (chat("hi", temperature="warm"), "temperature"),
        (chat("hi", temperature=10**400), "temperature"),
        (chat("hi", seed=10**400), "seed"),
        (chat("hi", max_tokens=0), "max_tokens"),
        (chat("hi", max_tokens=True), "max_tokens"),
        (chat("hi", top_k=-2), "top_k"),
        (chat("hi", seed=-1), "seed"),
        (chat("hi", stop=[""]), "stop"),
        (chat("hi", stop=7), "stop"),
        (chat("hi", stop="\ud800"), "stop"),
        (chat("hi", n=2), "n"),
        (chat("hi", tools=[{"type": "function"}]), "tools"),
        (chat("hi", model=["a"]), "model"),
        (chat("hi", user=7), "user"),
        (chat("hi", stream=True, stream_options=7), "stream_options"),
        (chat("hi", stream="false"), "stream"),
        (chat("hi", stream=1), "stream"),
        (chat("hi", continue_final_message=True), "continue_final_message"),
        ([], None),
    ],
)
async def test_a_wrong_request_is_400_and_names_its_field(served: Served, body: Any, param: str | None) -> None:
    status, reply = await served.post("/v1/chat/completions", body)
    assert (status, reply["error"]["type"], reply["error"]["param"]) == (400, "invalid_request_error", param)
    assert reply["error"]["message"]


async def test_what_is_no_json_no_path_or_no_model(served: Served) -> None:
    async with served.http.post(f"{served.address}/v1/chat/completions", data=b"{") as response:
        assert response.status == 400
    async with served.http.post(f"{served.address}/v1/chat/completions", data=b"[" * 90_000) as response:
        assert response.status == 400
    status, body = await served.post("/v1/nowhere", {})
    assert (status, body["error"]["type"]) == (404, "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as error:
        await served.client.chat.completions.create(**chat("hi") | {"model": "gpt-9"})
    assert error.value.code == "model_not_found"


async def test_too_long_and_busy_have_openais_words(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"slots": 1, "max_waiting": 1, "context_tokens": 100}
    async with scripted_inference(script(tmp_path, SLOW), **limits) as local, serve(local) as served:
        with pytest.raises(openai.BadRequestError) as long:
            await served.client.chat.completions.create(**chat("word " * 200))
        assert long.value.code == "context_length_exceeded"
        streams = [await served.client.chat.completions.create(**chat("slow", stream=True)) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as busy:
            await served.client.chat.completions.create(**chat("slow"))
        assert int(busy.value.response.headers["Retry-After"]) >= 1
        for stream in streams:
            await stream.close()


async def test_a_request_that_is_too_large_or_too_slow_is_refused(tmp_path: Path) -> None:
    async with scripted_inference(script(tmp_path)) as local, serve(local, request_bytes=1000, read_s=0.2) as served:
        status, body = await served.post("/v1/chat/completions", chat("x" * 2000))
        assert (status, body["error"]["type"]) == (413, "invalid_request_error")
        form = aiohttp.FormData()
        form.add_field("image", b"x" * 2000, filename="x")
        async with served.http.post(f"{served.address}/v1/captions", data=form) as response:
            assert response.status == 413
            assert "error" in await response.json()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(5)

        async with served.http.post(f"{served.address}/v1/chat/completions", data=slowly()) as response:
            assert response.status == 408


async def test_a_body_is_refused_from_its_head(served: Served) -> None:
    url = URL(served.address)
    key = f"Authorization: Bearer {KEY}\r\n"
    # Nothing of the body is sent, so nothing of it can have been waited for or unpacked.
    for more, status in (
        ("Content-Length: 2000000\r\nContent-Encoding: gzip\r\n", 401),
        (f"{key}Content-Length: 2000000\r\nContent-Encoding: gzip\r\n", 415),
        (f"{key}Content-Length: 99000000\r\n", 413),
    ):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        assert str(status) in (await reader.readline()).decode()
        writer.close()


async def test_a_form_of_too_many_parts_is_refused(served: Served) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\na\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = part * 2000 + b"--x--"
    async with served.http.post(served.address + "/v1/captions", data=body, headers=headers) as response:
        assert response.status == 400
        assert "parts" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("head", [b"A: " + b"x" * 20_000, b"A: b\r\n" * 1000, b"no head"])
async def test_a_form_whose_heads_cannot_be_read_is_refused(served: Served, head: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b"--x\r\n" + head + b"\r\n\r\na\r\n--x--"
    async with served.http.post(served.address + "/v1/captions", data=body, headers=headers) as response:
        assert response.status == 400
        assert "form" in (await response.json())["error"]["message"]


async def test_a_body_of_too_many_values_is_refused(served: Served) -> None:
    body = b'{"messages":' + b"[" * 400_000 + b"]" * 400_000 + b"}"
    async with served.http.post(served.address + "/v1/chat/completions", data=body) as response:
        assert response.status == 400
        assert "values" in (await response.json())["error"]["message"]


async def test_a_client_that_does_not_read_loses_its_slot(tmp_path: Path) -> None:
    line = {"match": "long", "answer": "x" * 16_000_000, "tokens_per_s": 1e9}
    limits: dict[str, Any] = {"slots": 1, "context_tokens": 10_000_000}
    async with scripted_inference(script(tmp_path, line), **limits) as local, serve(local, read_s=0.3) as served:
        url = URL(served.address)
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        body = json.dumps(chat("long", stream=True, max_tokens=9_000_000))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert b"200" in await reader.readline()
        await served.idle()
        writer.close()


async def test_a_stream_that_waits_has_a_heartbeat(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.http.server.chat._BEAT_S", 0.05)
    running = [await served.client.chat.completions.create(**chat("slow", stream=True, user=f"u{n}")) for n in range(2)]
    body = chat("hello", stream=True, user="other")
    async with served.http.post(f"{served.address}/v1/chat/completions", json=body) as response:
        seen = b""
        while seen.count(b": still here") < 2:
            seen += await response.content.readline()
        for stream in running:
            await stream.close()
        seen += await response.read()
    assert b'"content":"hello"' in seen
    assert seen.endswith(b"data: [DONE]\n\n")


async def test_a_long_prompt_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat begins before the first event: nobody takes the service for lost while it reads."""
    monkeypatch.setattr("inference.http.server.chat._BEAT_S", 0.1)
    monkeypatch.setattr("inference.http.client._SILENCE_S", 1.0)
    line = {"match": "long", "answer": "well", "first_token_s": 2.0}
    async with scripted_inference(script(tmp_path, line)) as local, serve(local) as served:
        remote = RemoteInference(served.address, KEY, clock=time.monotonic)
        await remote.start()
        request = ChatRequest(id="r", messages=(Message("user", "long"),), sampling=Sampling(), owner="ann")
        async with aclosing(remote.stream(request)) as events:
            seen = [event async for event in events]
        assert [getattr(event, "text", None) for event in seen][:-1] == ["well"]
        await remote.close()


@pytest.mark.parametrize("image", [b"1234", b"bad"])
async def test_a_caption_that_waits_for_its_model_is_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    """Neither a caption nor its failure is lost behind heartbeats, and neither is a count of tokens."""
    monkeypatch.setattr("inference.http.server.slow_replies.BEAT_S", 0.1)
    monkeypatch.setattr("inference.http.client._SILENCE_S", 1.0)
    caption, asked = FakeCaptioner.caption, 0

    async def late(*args: Any) -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(2.0)
        return await caption(*args)

    monkeypatch.setattr(FakeCaptioner, "caption", late)
    async with scripted_inference(script(tmp_path)) as local, serving(local) as remote:
        count = ScriptedEngine.count_tokens

        async def counted(*args: Any) -> int:
            await asyncio.sleep(2.0)
            return await count(*args)

        monkeypatch.setattr(ScriptedEngine, "count_tokens", counted)
        counting = asyncio.ensure_future(remote.count_tokens([Message("user", "say this")]))
        wanted = remote.caption(CaptionRequest(id="c", image=image, owner="ann"))
        if image == b"bad":
            with pytest.raises(BadImage, match="damaged"):
                await wanted
        else:
            assert (await wanted).text == "a picture of 4 bytes"
        assert await counting == await count(local._engine, [Message("user", "say this")])  # type: ignore[arg-type]
    assert asked == 1


async def test_a_late_failure_has_its_status_for_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.http.server.slow_replies.BEAT_S", 0.01)

    async def late(*_: Any) -> str:
        await asyncio.sleep(0.2)
        raise BadImage("it is damaged")

    monkeypatch.setattr(FakeCaptioner, "caption", late)
    other = Client(name="other", key=b"another key")
    async with scripted_inference(script(tmp_path)) as local, serve(local, clients=[other]) as served:
        headers = {"Authorization": "Bearer another key"}
        image = {"image": base64.b64encode(b"1234").decode()}
        async with served.http.post(f"{served.address}/v1/captions", json=image, headers=headers) as response:
            assert response.status == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize"])
@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_a_text_that_is_far_too_long_holds_nobody_up(served: Served, path: str, role: str) -> None:
    text = "<think>" + "</think>" * 1_000_000
    body = {"messages": [{"role": "user", "content": "hi"}, {"role": role, "content": text}]}
    late = 0.0

    async def look() -> None:
        nonlocal late
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            late = max(late, time.monotonic() - began)

    looking = asyncio.ensure_future(look())
    raw = json.dumps(body | {"continue_final_message": role == "assistant"}).encode()
    async with served.http.post(served.address + path, data=io.BytesIO(raw)) as response:
        status, reply = response.status, await response.json()
    looking.cancel()
    assert status == (200 if path == "/tokenize" else 400)
    assert path == "/tokenize" or reply["error"]["code"] == "context_length_exceeded"
    # Reading all of it takes 20 s.
    assert late < 2


async def test_names_and_stops_of_strangers_are_bounded(served: Served) -> None:
    for field in ({"user": "u" * 1000}, {"stop": ["x"] * 1000}, {"stop": "x" * 10_000}):
        status, reply = await served.post("/v1/chat/completions", chat("hi") | field)
        assert (status, reply["error"]["param"]) == (400, next(iter(field)))
    status, reply = await served.post("/v1/chat/completions", chat("hi") | {"model": "m" * 100_000})
    assert status == 404
    assert len(reply["error"]["message"]) < 1000


async def test_a_stop_is_503_before_a_stream_and_an_error_in_one(served: Served) -> None:
    """Never 200 with nothing in it, and never `length` for what nobody cut."""
    running = [
        await served.client.chat.completions.create(**chat("slow", stream=True, user=f"u{number}"))
        for number in range(2)
    ]
    whole = asyncio.ensure_future(served.client.chat.completions.create(**chat("slow", user="whole")))
    while not served.local.load.waiting["text"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await served.local.drain(0.1)
    for stream in running:
        finishes: list[str] = []

        async def read(stream: Any = stream, finishes: list[str] = finishes) -> None:
            async for chunk in stream:
                finishes += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]

        with pytest.raises(openai.APIError, match="is being stopped"):
            await read()
        assert finishes == []
    for refused in (whole, served.client.chat.completions.create(**chat("late", stream=True))):
        with pytest.raises(openai.InternalServerError) as error:
            await refused
        assert (error.value.status_code, error.value.code) == (503, "interrupted")
        assert int(error.value.response.headers["Retry-After"]) >= 1
    with pytest.raises(Interrupted):
        raise read_error(error.value.body)


def test_a_filter_is_told_as_one() -> None:
    status, details = write_error(Filtered("the words"))
    assert (status, details["code"]) == (400, "content_filter")
    assert isinstance(read_error(details), Filtered)


async def test_captions_come_from_forms_and_from_base64(served: Served) -> None:
    form = aiohttp.FormData({"prompt": "I see", "user": "ann"})
    form.add_field("image", io.BytesIO(b"1234"), filename="a.png")
    async with served.http.post(f"{served.address}/v1/captions", data=form) as response:
        body = await response.json()
    assert (body["text"], body["model"]) == ("I see 4 bytes", "fake captioner")
    plain = base64.b64encode(b"12345").decode()
    for image in (plain, f"data:image/png;base64,{plain}"):
        assert (await served.post("/v1/captions", {"image": image}))[1]["text"] == "a picture of 5 bytes"
    bad = base64.b64encode(b"bad").decode()
    unusable: list[Any] = [{"image": "%"}, {"image": 7}, {}, {"image": ""}, {"image": bad}, []]
    for wrong in [*unusable, {"image": plain, "prompt": 7}]:
        status, body = await served.post("/v1/captions", wrong)
        assert (status, body["error"]["type"]) == (400, "invalid_request_error"), wrong


async def test_probes_and_figures_need_no_key(served: Served) -> None:
    await served.client.chat.completions.create(**chat("hello"))
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.address}/healthz") as response:
            assert response.status == 200
        async with http.get(f"{served.address}/readyz") as response:
            assert (response.status, (await response.json())["status"]) == (200, "ready")
        async with http.get(f"{served.address}/metrics") as response:
            figures = await response.text()
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'partyline_requests_total{path="/v1/chat/completions",status="200"} 1' in figures
    assert 'partyline_answers_total{reason="stop"} 1' in figures
    assert 'partyline_running{lane="text"} 0' in figures
    line = re.compile(r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"\n]*"(,\w+="[^"\n]*")*\})? -?[\d.e+]+)$')
    assert all(line.match(row) for row in figures.splitlines())
    assert figures.endswith("\n")


async def test_figures_under_a_foreign_name_need_the_key(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        for path, status in (("metrics", 401), ("healthz", 200)):
            async with http.get(f"{served.address}/{path}", headers={"Host": "evil.example"}) as response:
                assert response.status == status
    async with served.http.get(f"{served.address}/metrics", headers={"Host": "evil.example"}) as response:
        assert response.status == 200


async def test_while_it_loads_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    local = LocalInference(ScriptedEngine(script(tmp_path)), clock=time.monotonic)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(local.close)
        async with serve(local) as served:
            async with served.http.get(f"{served.address}/healthz") as response:
                assert response.status == 200
            async with served.http.get(f"{served.address}/readyz") as response:
                assert (response.status, (await response.json())["status"]) == (503, "loading")
            with pytest.raises(openai.InternalServerError):
                await served.client.models.list()
            remote = RemoteInference(served.address, KEY, clock=time.monotonic)
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(remote.start())
                await asyncio.sleep(0.1)
                assert not waiting.done()
                await local.start()
            assert remote.info == local.info
            await remote.close()


async def test_without_its_engine_it_is_not_ready_and_still_captions(tmp_path: Path) -> None:
    async with scripted_inference(script(tmp_path)) as local, serve(local) as served:
        local._engine.lost = True  # type: ignore[misc]
        async with served.http.get(f"{served.address}/readyz") as response:
            assert (response.status, (await response.json())["status"]) == (503, "restarting")
        image = {"image": base64.b64encode(b"12345").decode()}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with served.http.post(f"{served.address}/v1/captions", json=image, headers=headers) as response:
            assert (await response.json())["text"] == "a picture of 5 bytes"


async def test_what_is_no_service_is_named_at_the_start(served: Served) -> None:
    for address, key, why in (
        ("http://127.0.0.1:9", KEY, "is not reached"),
        (served.address, "wrong", "PARTYLINE_INFERENCE__API_KEY"),
        (f"{served.address}/v1", KEY, "not ready"),
    ):
        remote = RemoteInference(address, key, clock=time.monotonic)
        with pytest.raises(Unavailable, match=why):
            await remote.start()
        await remote.close()


async def test_our_own_engine_can_use_it_too(served: Served) -> None:
    engine = OpenAIEngine([f"{served.address}/v1"], ServerOptions(key=KEY))
    await engine.start()
    assert engine.info.holds_prefix
    assert engine.info.context_tokens == served.local.info.context_tokens
    asked = ChatRequest(
        id="r", messages=(Message("user", "say this back"),), sampling=Sampling(), owner="ann", prefix="say this"
    )
    async with aclosing(engine.generate(asked)) as outputs:
        text = "".join([output.text async for output in outputs if isinstance(output, Piece)])
    assert text == " back"
    assert await engine.count_tokens([Message("user", "say this back")]) == 7
    await engine.close()


def test_the_command_prints_a_key_once_and_bots_use_it(tmp_path: Path) -> None:
    partyline = Partyline(tmp_path)
    command = partyline.command("serve", "--port", "0")
    with subprocess.Popen(command, cwd=tmp_path, env=partyline.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            key = process.stdout.readline().rpartition(": ")[2].strip()
            address = process.stdout.readline().partition("on ")[2].partition(",")[0]
            assert "ready" in process.stdout.readline()
            environ = {"PARTYLINE_MODEL": f"partyline+{address}", "PARTYLINE_INFERENCE__API_KEY": key}
            done = partyline("ask", "think", "--json", **environ)
            last = json.loads(done.stdout.splitlines()[-1])
            assert (done.returncode, last["text"]) == (0, "forty two"), done.stderr
            refused = partyline("ask", "think", **environ | {"PARTYLINE_INFERENCE__API_KEY": "wrong"})
            assert refused.returncode == 1
            assert "PARTYLINE_INFERENCE__API_KEY" in refused.stderr
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert partyline("serve", PARTYLINE_MODEL="partyline+http://127.0.0.1:1").returncode == 2
    assert partyline("serve", "--port", "99999").returncode == 2


async def test_the_model_is_described_by_its_name(served: Served) -> None:
    (listed,) = (await served.client.models.list()).data
    assert await served.client.models.retrieve(listed.id) == listed
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        await served.client.models.retrieve("another/one")
