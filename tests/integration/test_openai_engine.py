"""The OpenAI-compatible engine against servers that behave badly, and against several of them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from bots.messages import Action, Ended, Failed, QueueUpdate
from inference.api import (
    Busy,
    ChatRequest,
    Filtered,
    InferenceError,
    Message,
    OutOfMemory,
    Sampling,
    TooLong,
    Unavailable,
)
from inference.engine_factory import engine_for
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.openai.engine import OpenAIEngine
from inference.engines.openai.server import ServerOptions
from inference.engines.openai.wire import guarded
from inference.engines.port import Closed, Opened, Output, Piece, Replacing, RequestRejected
from inference.queueing.admission import AdmissionBounds
from inference.reasoning.formats import THINK
from inference.serving.service import LocalInference
from inference.serving.supervisor import SupervisedEngine
from tests.fakes import Chat, said
from tests.integration.test_engines import openai_engine
from tests.integration.test_kill import free_port
from tests.servers.openai import DONE, Handler, OpenAIServer, chunk, refusing, streaming, whole
from tests.servers.telegram import until

HELLO = streaming(chunk("Hel"), chunk("lo", finish="stop"), DONE)
HELLO_REST = streaming(chunk("lo", finish="stop"), DONE)


def ask(text: str = "hi", *, prefix: str = "", **sampling: Any) -> ChatRequest:
    settings = Sampling(**{"max_new_tokens": 20, **sampling})
    return ChatRequest(id="r", messages=(Message("user", text),), sampling=settings, owner="ann", prefix=prefix)


@asynccontextmanager
async def engine_over(*servers: OpenAIServer, **options: Any) -> AsyncIterator[OpenAIEngine]:
    addresses = []
    contexts = [server.serving() for server in servers]
    try:
        addresses = [await context.__aenter__() for context in contexts]
        engine = OpenAIEngine(addresses, ServerOptions(silence_s=0.5, **options))
        await engine.start()
        yield engine
        await engine.close()
    finally:
        for context in contexts:
            await context.__aexit__(None, None, None)


async def answer(engine: OpenAIEngine, request: ChatRequest | None = None) -> list[Output]:
    async with aclosing(engine.generate(request or ask())) as outputs:
        return [output async for output in outputs]


def text_of(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Piece))


async def failed(handler: Handler, **sampling: Any) -> tuple[str, InferenceError]:
    """The text that came before the failure, and the failure."""
    async with engine_over(OpenAIServer(handler)) as engine:
        said: list[Output] = []
        try:
            async with aclosing(engine.generate(ask(**sampling))) as outputs:
                async for output in outputs:
                    said.append(output)  # noqa: PERF401
        except InferenceError as error:
            return text_of(said), error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    ("handler", "text", "why"),
    [
        (streaming(chunk("Hel"), 'data: {"choices": [{"del'), "Hel", "ended before"),
        (streaming(chunk("Hel"), "data: {broken\n\n", DONE), "Hel", "no JSON"),
        (streaming(chunk("Hel"), DONE), "Hel", "ended before"),
        (streaming(chunk("Hel")), "Hel", "ended before"),
        (streaming(chunk("Hel"), 'data: "text"\n\n', DONE), "Hel", "a chunk is"),
        (streaming(chunk("Hel"), 'data: {"choices": 3}\n\n', DONE), "Hel", "ended before"),
        (streaming(chunk("Hel"), 'data: {"error": {"message": "lost the GPU"}}\n\n'), "Hel", "lost the GPU"),
        (streaming(chunk("Hel"), 'data: {"error_type": "long", "error_message": "by 9"}\n\n', DONE), "Hel", "by 9"),
        (streaming(chunk("Hel"), 'event: error\ndata: {"message": "overloaded"}\n\n'), "Hel", "overloaded"),
        (streaming(chunk("Hel"), breaks=True), "Hel", "cannot be reached"),
        (streaming(chunk("Hel"), hangs=True), "Hel", "silent"),
        (streaming(hangs=True), "", "silent"),
        (streaming("<html>Please log in</html>", content_type="text/html"), "", "text/html"),
        (refusing(500), "", "no"),
        (refusing(401), "", "PARTYLINE_INFERENCE__API_KEY"),
        (refusing(400, {"message": "no such model"}), "", "no such model"),
        (streaming(b"data: \xff\xfe\n\n"), "", "no JSON"),
        (streaming(chunk("Hel"), chunk(finish="error"), DONE), "Hel", "ended the answer: error"),
        (streaming(chunk("Hel"), chunk(finish="abort"), DONE), "Hel", "ended the answer: abort"),
        (streaming(chunk("Hel", finish=""), DONE), "Hel", "ended before"),
        (whole({"error": {"message": "no capacity"}}), "", "no capacity"),
    ],
    ids=[
        "half an event", "invalid JSON", "no reason", "no end", "not an object", "odd choices", "error event",
        "error fields", "error by the event's name",
        "closes in the middle", "falls silent", "never begins", "HTML", "500", "401", "400", "odd bytes",
        "a reason that is an error", "aborted", "an empty reason", "an error with status 200",
    ],
)  # fmt: skip
async def test_a_bad_server_is_unavailable_and_the_text_so_far_stands(handler: Handler, text: str, why: str) -> None:
    said, error = await failed(handler)
    assert said == text
    assert isinstance(error, Unavailable)
    assert why in error.why


async def test_what_may_begin_a_stop_string_is_shown_where_the_answer_breaks_off() -> None:
    said, error = await failed(streaming(chunk("Ask Us"), breaks=True), stop=("User:",))
    assert said == "Ask Us"
    assert isinstance(error, Unavailable)


@pytest.mark.parametrize("reason", ["content_filter", "sensitive", "SAFETY"])
@pytest.mark.parametrize("words", ["Hel", ""])
async def test_an_answer_that_a_filter_has_ended_is_not_whole(reason: str, words: str) -> None:
    said, error = await failed(streaming(chunk(words), chunk(finish=reason), DONE))
    assert said == words
    assert isinstance(error, Filtered)


async def test_a_question_that_a_filter_refuses() -> None:
    """As Azure says it."""
    _, error = await failed(refusing(400, {"message": "The prompt triggered the policy.", "code": "content_filter"}))
    assert isinstance(error, Filtered)


async def test_whom_a_filter_cuts_off_reads_so_and_may_ask_anew() -> None:
    server = OpenAIServer(streaming(chunk("Hel"), chunk(finish="content_filter"), DONE))
    async with server.serving() as address:
        inference = LocalInference(OpenAIEngine([address], ServerOptions(silence_s=0.5)), clock=lambda: 0.0)
        await inference.start()
        try:
            events = await Chat(inference).say("say hello")
        finally:
            await inference.close()
    assert said(events) == "Hel"
    assert isinstance(events[-1], Failed)
    assert "filter" in events[-1].sentence
    assert events[-1].actions == (Action.REGENERATE,)


async def test_a_server_that_knows_no_streams_is_understood() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"}
    usage = {"prompt_tokens": 4, "completion_tokens": 3}
    async with engine_over(OpenAIServer(whole({"choices": [choice], "usage": usage}))) as engine:
        outputs = await answer(engine)
    assert text_of(outputs) == "Hello"
    assert outputs[-1] == Closed("length", 3, prompt_tokens=4)


@pytest.mark.parametrize("name", ["content", "reasoning_content"])
async def test_a_character_that_a_server_cuts_in_two_is_one(name: str) -> None:
    """JSON spells what is beyond U+FFFF as two escapes."""
    halves = [
        f'data: {{"choices": [{{"delta": {{"{name}": "{text}"}}}}]}}\n\n' for text in ("a \\ud83d", "\\ude00 b \\ud83d")
    ]
    async with engine_over(OpenAIServer(streaming(*halves, chunk(finish="stop"), DONE))) as engine:
        assert text_of(await answer(engine)) == "a \N{GRINNING FACE} b \N{REPLACEMENT CHARACTER}"


async def test_a_model_that_declines_in_a_field_of_its_own_is_heard() -> None:
    events = [
        chunk(),
        *(f'data: {{"choices": [{{"delta": {{"refusal": "{word}"}}}}]}}\n\n' for word in ("I can", "not.")),
    ]
    async with engine_over(OpenAIServer(streaming(*events, chunk(finish="stop"), DONE))) as engine:
        assert text_of(await answer(engine)) == "I cannot."


async def test_a_server_that_comes_back_with_another_model_is_asked_for_that() -> None:
    async def knowing(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["model"] != server.model["id"]:
            error = {"message": f"The model `{body['model']}` does not exist.", "param": "model", "code": 404}
            return await refusing(404, error)(request, body)
        return await HELLO(request, body)

    server = OpenAIServer(knowing)
    async with engine_over(server) as engine:
        await answer(engine)
        server.model = {"id": "org/another-model", "max_model_len": 1024}
        assert text_of(await answer(engine)) == "Hello"
        assert (engine.info.name, engine.info.context_tokens) == ("another-model", 1024)
    async with engine_over(server, model="some-model") as engine:
        with pytest.raises(RequestRejected):
            await answer(engine)


async def test_a_server_that_comes_back_with_a_shorter_context_gets_shorter_prompts() -> None:
    said = "This model's maximum context length is 500 tokens. However, your messages resulted in 700 tokens."
    async with engine_over(OpenAIServer(refusing(400, {"message": said}), {"max_model_len": 4096})) as engine:
        with pytest.raises(TooLong):
            await answer(engine)
        assert engine.info.context_tokens == 500


async def test_continue_works_after_a_server_that_closed_in_the_middle() -> None:
    first = True

    async def breaking(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal first
        handler = streaming(chunk("Hel"), breaks=True) if first else streaming(chunk("lo", finish="stop"), DONE)
        first = False
        return await handler(request, body)

    server = OpenAIServer(breaking)
    async with server.serving() as address:
        inference = LocalInference(OpenAIEngine([address], ServerOptions(silence_s=0.5)), clock=lambda: 0.0)
        await inference.start()
        try:
            chat = Chat(inference)
            broken = await chat.say("say hello")
            assert (said(broken), type(broken[-1])) == ("Hel", Failed)
            assert said(await chat.say("/continue")) == "lo"
        finally:
            await inference.close()
    assert server.bodies[-1]["messages"][-2] == {"role": "assistant", "content": "Hel"}


async def test_a_missing_done_is_forgiven_when_the_answer_has_ended() -> None:
    async with engine_over(OpenAIServer(streaming(chunk("Hello", finish="stop")))) as engine:
        outputs = await answer(engine)
    assert text_of(outputs) == "Hello"
    assert outputs[-1] == Closed("stop", 1)


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("closings", [1, 2, 10])
async def test_a_connection_that_the_server_has_closed_is_made_anew(closings: int) -> None:
    """At once, then a moment later, and not for ever."""
    left = closings

    async def closing(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal left
        left -= 1
        if left < 0:
            return await HELLO(request, body)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with engine_over(OpenAIServer(closing)) as engine:
        if closings < 10:
            assert text_of(await answer(engine)) == "Hello"
        else:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await answer(engine)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("7", 7.0),
        ("1e9", 3600.0),
        ("Wed, 21 Oct 2026 07:28:40 GMT", 40.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 1.0),
        ("Wed, 21 Oct 2126 07:20:00 GMT", 3600.0),
        ("in a moment", 5.0),
        ("nan", 5.0),
    ],
)
async def test_429_is_busy_for_as_long_as_the_server_says(header: str, wait_s: float) -> None:
    """A date is compared with the server's clock, which may be wrong."""
    headers = {"Retry-After": header, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    server = OpenAIServer(refusing(429, headers=headers))
    async with engine_over(server) as engine:
        with pytest.raises(Busy) as busy:
            await answer(engine)
        assert busy.value.retry_in_s == wait_s
        with pytest.raises(Busy):
            await answer(engine)
    assert len(server.bodies) == 1, "a penalty is silence"


async def test_heartbeats_are_work() -> None:
    async with engine_over(OpenAIServer(streaming(*[": queued\n\n"] * 3, hangs=True))) as engine:
        before = engine.steps
        waiting = asyncio.ensure_future(answer(engine))
        async with asyncio.timeout(10):
            while engine.steps == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        waiting.cancel()


async def test_reasoning_fields_become_thinking() -> None:
    for name in ("reasoning_content", "reasoning"):
        events = [chunk(**{name: "hm"}), chunk(**{name: " `x"}), chunk("42"), chunk(finish="stop"), DONE]
        async with engine_over(OpenAIServer(streaming(*events))) as engine:
            outputs = await answer(engine)
            assert engine.info.reasoning
        opened = outputs[0]
        assert isinstance(opened, Opened)
        assert not opened.thinking, "it is kept apart"
        assert not opened.counted, "this server tells no numbers"
        found = [(output.text, output.thinking) for output in outputs if isinstance(output, Piece)]
        assert found == [("hm", True), (" `x", True), ("42", False)]


async def test_a_broken_server_is_passed_over_and_left_alone() -> None:
    broken, well = OpenAIServer(refusing(503)), OpenAIServer(HELLO)
    async with engine_over(broken, well) as engine:
        for _ in range(4):
            assert text_of(await answer(engine)) == "Hello"
    assert len(broken.bodies) <= 1


async def test_a_server_that_is_down_at_the_start_is_used_when_it_is_back() -> None:
    now = [0.0]
    well, other = OpenAIServer(HELLO), OpenAIServer(HELLO)
    async with well.serving() as first:
        async with other.serving() as second:
            pass
        engine = OpenAIEngine([second, first], ServerOptions(silence_s=0.5), clock=lambda: now[0])
        await engine.start()
        assert engine._replicas[0].failures == 1
        assert text_of(await answer(engine)) == "Hello"
        engine._replicas[0].client = engine._replicas[1].client
        now[0] = 100.0
        engine._replicas[1].outstanding = 1
        listed = well.listed
        await answer(engine)
        assert well.listed == listed + 1, "it passed a health check"
        assert engine._replicas[0].failures == 0
        await engine.close()


async def test_the_least_busy_server_is_asked() -> None:
    slow, other = OpenAIServer(streaming(chunk("a"), hangs=True)), OpenAIServer(streaming(chunk("a"), hangs=True))
    async with engine_over(slow, other) as engine:
        streams = [engine.generate(ask()) for _ in range(4)]
        for stream in streams:
            await anext(stream)
        assert (len(slow.bodies), len(other.bodies)) == (2, 2)
        for stream in streams:
            await stream.aclose()
        assert [replica.outstanding for replica in engine._replicas] == [0, 0]


async def test_closing_the_generator_closes_the_connection() -> None:
    server = OpenAIServer(streaming(chunk("a"), hangs=True))
    async with engine_over(server) as engine:
        async with aclosing(engine.generate(ask())) as outputs:
            await anext(outputs)
        await server.gone.wait()


async def test_further_sampling_fields_are_left_out_for_a_server_that_refuses_them() -> None:
    async def strict(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "top_k" in body:
            return await refusing(400, {"message": "Unrecognized request argument supplied: top_k"})(request, body)
        return await HELLO(request, body)

    server = OpenAIServer(strict)
    async with engine_over(server) as engine:
        for _ in range(2):
            assert text_of(await answer(engine, ask(top_k=5, seed=3))) == "Hello"
    assert ["top_k" in body for body in server.bodies] == [True, False, False]
    assert server.bodies[-1]["seed"] == 3


def refusing_fields(*names: str, say: str = "", **details: Any) -> OpenAIServer:
    """A server that refuses requests with any of these fields, one after the other."""

    async def strict(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        for name in names:
            if name in body or name in body.get("stream_options", {}):
                error = {"message": say.format(name)} | {key: value.format(name) for key, value in details.items()}
                return await refusing(400, error)(request, body)
        return await HELLO(request, body)

    return OpenAIServer(strict)


SAMPLING: dict[str, Any] = {
    "top_k": 5,
    "min_new_tokens": 2,
    "repetition_penalty": 1.2,
    "presence_penalty": 0.5,
    "seed": 3,
}


async def test_an_unknown_field_is_left_out_and_all_others_stay() -> None:
    server = refusing_fields("min_tokens", "min_p", say="Extra inputs are not permitted", param="body.{}")
    async with engine_over(server) as engine:
        for _ in range(2):
            assert text_of(await answer(engine, ask(**SAMPLING))) == "Hello"
    assert [("min_tokens" in body, "min_p" in body) for body in server.bodies] == [
        (True, True),
        (False, True),
        (False, False),
        (False, False),
    ]
    last = server.bodies[-1]
    assert (last["top_k"], last["repetition_penalty"], last["seed"]) == (5, 1.2, 3)
    assert last["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


async def test_a_refused_value_costs_one_request_its_field_and_nobody_else() -> None:
    async def strict(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("min_tokens", 0) > 10:
            error = {"message": "min_tokens must be less than or equal to max_tokens=10, got 15."}
            return await refusing(400, error)(request, body)
        return await HELLO(request, body)

    server = OpenAIServer(strict)
    async with engine_over(server) as engine:
        assert text_of(await answer(engine, ask(min_new_tokens=15, top_k=5))) == "Hello"
        assert "min_tokens" not in server.bodies[-1]
        assert server.bodies[-1]["top_k"] == 5
        await answer(engine, ask(min_new_tokens=5))
        assert server.bodies[-1]["min_tokens"] == 5


async def test_a_field_that_was_not_known_is_tried_again_after_a_while() -> None:
    now = [0.0]
    server = refusing_fields("min_tokens", say="Unrecognized request argument supplied: {}")
    async with server.serving() as address:
        engine = OpenAIEngine([address], ServerOptions(silence_s=0.5), clock=lambda: now[0])
        await engine.start()
        for now[0] in (0.0, 500.0, 700.0, 1300.0, 2000.0):
            await answer(engine, ask())
        await engine.close()
    # Refused at 0, left out until 600, refused again at 700, left out until 1900, refused at 2000.
    sent = ["min_tokens" in body for body in server.bodies]
    assert sent == [True, False, False, True, False, False, True, False]


async def test_a_refusal_that_names_nothing_costs_one_request_until_it_happens_to_two_people() -> None:
    """All further fields go together: which one it was cannot be known."""
    server = refusing_fields("top_k", say="bad request")
    async with engine_over(server) as engine:
        for owner in ("ann", "ann", "bob", "cy"):
            request = ChatRequest(id="r", messages=(Message("user", "hi"),), sampling=Sampling(seed=3), owner=owner)
            assert text_of(await answer(engine, request)) == "Hello"
    sent = ["top_k" in body for body in server.bodies]
    assert sent == [True, False, True, False, True, False, False]
    assert server.bodies[-1]["seed"] == 3
    assert server.bodies[-1]["stream_options"] == {"include_usage": True}


async def test_counts_in_every_chunk_are_given_up_before_all_counts() -> None:
    server = refusing_fields("continuous_usage_stats", say="Unknown parameter: 'stream_options.{}'.")
    async with engine_over(server) as engine:
        assert text_of(await answer(engine)) == "Hello"
    assert server.bodies[-1]["stream_options"] == {"include_usage": True}


async def test_a_model_that_wants_the_newer_name_of_the_limit_gets_it() -> None:
    say = "Unsupported parameter: '{}' is not supported with this model. Use 'max_completion_tokens' instead."
    server = refusing_fields("max_tokens", say=say, param="{}")
    async with engine_over(server) as engine:
        for _ in range(2):
            assert text_of(await answer(engine)) == "Hello"
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 20, 20]


async def test_fields_in_the_details_of_a_422_are_found() -> None:
    async def fastapi(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "min_p" in body:
            detail = [{"type": "extra_forbidden", "loc": ["body", "min_p"], "msg": "Extra inputs are not permitted"}]
            return web.json_response({"detail": detail}, status=422)
        return await HELLO(request, body)

    server = OpenAIServer(fastapi)
    async with engine_over(server) as engine:
        for _ in range(2):
            assert text_of(await answer(engine, ask(top_k=5))) == "Hello"
    assert ["min_p" in body for body in server.bodies] == [True, False, False]
    assert server.bodies[-1]["top_k"] == 5


async def test_a_request_that_is_refused_in_every_form_fails_alone() -> None:
    server = OpenAIServer(refusing(400, {"message": "no"}))
    async with engine_over(server) as engine:
        with pytest.raises(RequestRejected, match="refuses the request"):
            await answer(engine)
        server.answer = HELLO
        await answer(engine)
        assert "top_k" in server.bodies[-1]


async def test_one_silent_stream_does_not_make_its_server_rest() -> None:
    async def moody(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["messages"][0]["content"] == "quiet":
            return await streaming(hangs=True)(request, body)
        return await HELLO(request, body)

    async with engine_over(OpenAIServer(moody)) as engine:
        quiet = asyncio.ensure_future(answer(engine, ask("quiet")))
        while not quiet.done():
            await answer(engine)
        with pytest.raises(Unavailable, match="silent"):
            await quiet
        assert engine._replicas[0].failures == 0


async def test_a_lack_of_memory_at_a_service_is_that_and_no_failure_of_the_server() -> None:
    error = {"message": "there is not enough memory for this request", "code": "out_of_memory"}
    async with engine_over(OpenAIServer(refusing(503, error))) as engine:
        with pytest.raises(OutOfMemory):
            await answer(engine)
        assert engine._replicas[0].failures == 0


@pytest.mark.parametrize("events", [["one EN", "D two"], ["one ", "END"], ["one", " END two"]])
async def test_a_stop_string_that_is_sent_all_the_same_is_cut_off(events: list[str]) -> None:
    server = OpenAIServer(streaming(*map(chunk, events), hangs=True))
    async with engine_over(server) as engine:
        outputs = await answer(engine, ask(stop=("END",)))
        assert text_of(outputs) == "one "
        assert isinstance(outputs[-1], Closed)
        assert outputs[-1].reason == "stop"
        await server.gone.wait()


async def test_what_is_only_the_beginning_of_a_stop_string_is_text() -> None:
    server = OpenAIServer(streaming(chunk("one EN"), chunk(finish="stop"), DONE))
    async with engine_over(server) as engine:
        assert text_of(await answer(engine, ask(stop=("END",)))) == "one EN"


async def test_vllm_gets_its_fields_and_goes_on_from_a_prefix() -> None:
    server = OpenAIServer(HELLO, {"owned_by": "vllm", "max_model_len": 2048})
    async with engine_over(server) as engine:
        assert engine.info.holds_prefix
        assert engine.info.context_tokens == 2048
        await answer(engine, ask(prefix="Well, ", top_k=5, repetition_penalty=1.2, min_new_tokens=2))
    body = server.bodies[-1]
    assert (body["top_k"], body["repetition_penalty"], body["min_tokens"]) == (5, 1.2, 2)
    assert body["continue_final_message"] is True
    assert body["messages"][-1] == {"role": "assistant", "content": "Well, "}


@pytest.mark.parametrize(("kind", "salts"), [("vllm", True), ("sglang", True), ("llamacpp", False), ("openai", False)])
async def test_prefix_caches_that_can_be_salted_are(kind: str, salts: bool) -> None:
    server = OpenAIServer(HELLO, {"owned_by": kind, "max_model_len": 2048})
    async with engine_over(server) as engine:
        for owner in ("telegram:1", "telegram:1", "discord:2"):
            await answer(engine, replace(ask(), owner=owner))
    sent = [body.get("cache_salt") for body in server.bodies[-3:]]
    if salts:
        assert sent[0] == sent[1] != sent[2]
        assert len(str(sent[0])) == 32
        assert not any("telegram" in json.dumps(body) for body in server.bodies), "a server learns no names"
    else:
        assert sent == [None, None, None]


async def test_llama_server_passes_by_what_others_have_asked() -> None:
    server = OpenAIServer(HELLO, {"owned_by": "llamacpp"})
    long = "What is the meaning of all this that I am asking you about? " * 3
    async with engine_over(server) as engine:
        for owner, text in [("a", long), ("a", long), ("b", long), ("b", long), ("b", "something else"), ("a", long)]:
            await answer(engine, replace(ask(text), owner=owner))
    assert [body["cache_prompt"] for body in server.bodies[-6:]] == [True, True, False, True, True, True]


async def test_vllm_counts_the_prompt_and_shows_that_the_template_began_the_reasoning() -> None:
    server = OpenAIServer(streaming(chunk("hm</think>"), chunk("42", finish="stop"), DONE), {"owned_by": "vllm"})
    server.tokens = ["<｜User｜>", "hi", "<｜Assistant｜>", "<think>", "Ċ"]
    async with engine_over(server) as engine:
        assert engine.info.reasoning
        assert await engine.count_tokens([Message("user", "hi")]) == 5
        assert (await answer(engine))[0] == Opened(5, thinking=True, format=THINK)
    assert server.bodies[-1]["max_tokens"] == 20


async def test_no_words_of_anybody_are_in_a_cache() -> None:
    server = OpenAIServer(HELLO, {"owned_by": "vllm"})
    server.tokens = ["hi"]
    async with engine_over(server) as engine:
        await engine.count_tokens([Message("user", "my secret")])
        assert engine._counts
        assert all(len(key) == 32 for key in engine._counts)


async def test_a_server_that_cannot_go_on_is_told_to_and_its_reasoning_is_dropped() -> None:
    server = OpenAIServer(streaming(chunk("<think>hm</think>"), chunk("lo"), chunk(finish="stop"), DONE))
    async with engine_over(server) as engine:
        assert not engine.info.holds_prefix
        assert text_of(await answer(engine, ask(prefix="Hel"))) == "lo"
    assert [message["role"] for message in server.bodies[-1]["messages"]] == ["user", "assistant", "user"]


async def test_an_answer_that_does_not_fit_is_shortened_and_a_prompt_that_does_not_is_too_long() -> None:
    sentence = "This model's maximum context length is {} tokens. However, you requested {} tokens ({} in the messages"

    async def vllm(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if len(body["messages"][0]["content"]) > 100:
            return await refusing(400, {"message": sentence.format(100, 140, 120)})(request, body)
        if body["max_tokens"] > 90:
            return await refusing(400, {"message": sentence.format(100, 210, 10)})(request, body)
        return await HELLO(request, body)

    server = OpenAIServer(vllm)
    async with engine_over(server) as engine:
        assert text_of(await answer(engine, ask(max_new_tokens=200))) == "Hello"
        assert server.bodies[-1]["max_tokens"] == 90
        with pytest.raises(TooLong) as long:
            await answer(engine, ask("word " * 100))
    assert (long.value.limit, long.value.tokens) == (100, 120)


@pytest.mark.parametrize("mark", ["<|im_end|>", "<｜User｜>", "<think>", "</think>", "</s>", "[/INST]"])
async def test_control_tokens_that_people_type_do_not_reach_the_server(mark: str) -> None:
    server = OpenAIServer(HELLO)
    async with engine_over(server) as engine:
        await answer(engine, ask(f"hi{mark} there"))
    sent = server.bodies[-1]["messages"][0]["content"]
    assert mark not in sent
    assert sent.replace("\u200b", "") == f"hi{mark} there"


def test_ordinary_text_is_not_touched() -> None:
    code = "a < b | c; <div>; x[INSTANCE]; if (a<|b|) {}"
    assert guarded(code).replace("<\u200b|b", "<|b") == code
    assert guarded("<b>bold</b> <span>") == "<b>bold</b> <span>"


async def test_the_length_of_a_prompt_is_estimated_where_no_server_tells() -> None:
    async with engine_over(OpenAIServer(HELLO), context_tokens=1000) as engine:
        assert engine.info.context_tokens == 1000
        assert 10 < await engine.count_tokens([Message("user", "hello " * 10)]) < 40


async def test_an_answer_goes_through_the_service_with_its_reasoning_apart() -> None:
    events = [chunk(reasoning_content="hm"), chunk("42"), chunk(finish="stop"), DONE]
    async with engine_over(OpenAIServer(streaming(*events))) as engine:
        service = LocalInference(engine, clock=lambda: 0.0)
        async with aclosing(service.stream(ask())) as stream:
            said = [(type(event).__name__, getattr(event, "text", "")) async for event in stream]
    assert said[:-1] == [("Thinking", "hm"), ("Text", "42")]


async def test_what_is_no_openai_server_is_named_at_the_start() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await engine_for("http://127.0.0.1:9/v1", None).start()  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="no address"):
        engine_for("http://", None)  # type: ignore[arg-type]


async def test_a_real_server_keeps_seed_prefix_and_stop_words() -> None:
    async with openai_engine() as engine:
        sea = "Write one sentence about the sea."
        first, second = [text_of(await answer(engine, ask(sea, seed=7))) for _ in range(2)]
        assert first == second
        whole = text_of(await answer(engine, ask(sea, temperature=0, max_new_tokens=12)))
        half = text_of(await answer(engine, ask(sea, temperature=0, max_new_tokens=6)))
        assert half + text_of(await answer(engine, ask(sea, temperature=0, max_new_tokens=6, prefix=half))) == whole
        word = whole.split()[3]
        assert text_of(await answer(engine, ask(sea, temperature=0, stop=(word,)))) == whole[: whole.index(word)]
        assert engine.info.context_tokens == 512


LOADS = refusing(503, {"code": 503, "message": "Loading model", "type": "unavailable_error"})
"""As llama-server says it, to all but `/v1/models`."""


def loading(times: int, then: Handler) -> Handler:
    left = times

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return await (then if left < 0 else LOADS)(request, body)

    return answer


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.engines.openai.engine._LOOK_AGAIN_S", 0.01)


@pytest.mark.usefixtures("quick_looks")
async def test_a_server_that_loads_its_model_is_waited_for() -> None:
    async with engine_over(OpenAIServer(loading(3, HELLO))) as engine:
        first, *outputs = await answer(engine)
    assert first == Replacing()
    assert text_of(outputs) == "Hello"


@pytest.mark.usefixtures("quick_looks")
async def test_of_two_servers_that_load_the_first_that_has_loaded_answers() -> None:
    async with engine_over(OpenAIServer(LOADS), OpenAIServer(loading(2, HELLO))) as engine:
        assert text_of(await answer(engine)) == "Hello"


@pytest.mark.usefixtures("quick_looks")
async def test_what_one_server_refuses_is_not_asked_again_until_the_other_one_has_loaded() -> None:
    broken, loads = OpenAIServer(refusing(500)), OpenAIServer(LOADS)
    async with engine_over(broken, loads) as engine:
        for number in range(4):
            with pytest.raises(Unavailable, match="no"):
                await answer(engine, replace(ask(), owner=f"owner {number}"))
    assert len(broken.bodies) <= 4


@pytest.mark.usefixtures("quick_looks")
async def test_a_server_that_does_not_listen_for_a_while_is_waited_for() -> None:
    server, port = OpenAIServer(HELLO), free_port()
    async with server.serving(port) as address:
        engine = OpenAIEngine([address], ServerOptions(silence_s=0.5))
        await engine.start()
    outputs = list[Output]()
    async with asyncio.TaskGroup() as tasks:

        async def asks() -> None:
            async with aclosing(engine.generate(ask())) as all_of_them:
                async for output in all_of_them:
                    outputs.append(output)

        tasks.create_task(asks())
        await until(lambda: Replacing() in outputs)
        async with server.serving(port):
            await until(lambda: outputs and isinstance(outputs[-1], Closed))
    await engine.close()
    assert text_of(outputs) == "Hello"


VLLM = {"owned_by": "vllm"}


def dying(*answers: Handler) -> Handler:
    """One after the other."""
    left = list(answers)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await left.pop(0)(request, body)

    return answer


@pytest.mark.usefixtures("quick_looks")
async def test_an_answer_whose_server_dies_goes_on_from_its_text() -> None:
    """Twice, and where the reasoning has a field of its own, too: as one answer, counted once."""
    thought = chunk(reasoning_content="Hm, "), chunk(reasoning_content="well.")
    server = OpenAIServer(
        dying(
            streaming(thought[0], breaks=True),
            streaming(thought[1], chunk("Hel"), breaks=True),
            streaming(chunk("lo", finish="stop"), DONE),
        ),
        VLLM,
    )
    async with engine_over(server) as engine:
        outputs = await answer(engine)
    pieces = [output for output in outputs if isinstance(output, Piece)]
    assert "".join(piece.text for piece in pieces if piece.thinking) == "Hm, well."
    assert "".join(piece.text for piece in pieces if not piece.thinking) == "Hello"
    assert [type(output) for output in outputs].count(Opened) == 1
    assert isinstance(outputs[-1], Closed)
    assert outputs[-1].completion_tokens == sum(piece.tokens for piece in pieces) == 4
    last = [body["messages"][-1] for body in server.bodies]
    assert [(each["role"], each["content"]) for each in last] == [
        ("user", "hi"),
        ("assistant", "<think>Hm, "),
        ("assistant", "<think>Hm, well.\n</think>\n\nHel"),
    ]
    assert [body["max_tokens"] for body in server.bodies] == [20, 19, 17]
    assert server.bodies[-1]["continue_final_message"]


@pytest.mark.usefixtures("quick_looks")
async def test_an_answer_waits_for_its_server_to_be_started_again() -> None:
    server, port = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), HELLO_REST), VLLM), free_port()
    outputs = list[Output]()
    async with asyncio.TaskGroup() as tasks:

        async def asks() -> None:
            async with aclosing(engine.generate(ask())) as all_of_them:
                async for output in all_of_them:
                    outputs.append(output)

        async with server.serving(port) as address:
            engine = OpenAIEngine([address], ServerOptions(silence_s=5.0))
            await engine.start()
            tasks.create_task(asks())
            await until(lambda: text_of(outputs) == "Hel")
        await until(lambda: Replacing() in outputs)
        async with server.serving(port):
            await until(lambda: isinstance(outputs[-1], Closed))
    await engine.close()
    assert text_of(outputs) == "Hello"


@pytest.mark.usefixtures("quick_looks")
async def test_another_server_goes_on_where_one_has_died() -> None:
    """Whichever is asked first."""
    answers = dying(streaming(chunk("Hel"), breaks=True), HELLO_REST)
    servers = OpenAIServer(answers, VLLM), OpenAIServer(answers, VLLM)
    async with engine_over(*servers) as engine:
        assert text_of(await answer(engine)) == "Hello"
    assert [len(server.bodies) for server in servers] == [1, 1]


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("said", ["", "Hel"])
async def test_a_request_under_which_servers_die_again_and_again_fails(said: str) -> None:
    """Those that brought nothing count: it may be the reason."""
    server = OpenAIServer(dying(streaming(chunk(said), breaks=True), *[streaming(breaks=True)] * 20), VLLM)
    async with engine_over(server) as engine:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await answer(engine)
    assert len(server.bodies) <= 1 + 5


BUSY = refusing(429, headers={"Retry-After": "1"})


@pytest.mark.usefixtures("quick_looks")
async def test_a_server_that_is_busy_when_it_comes_back_is_waited_for() -> None:
    server = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), BUSY, HELLO_REST), VLLM)
    async with engine_over(server) as engine:
        assert text_of(await answer(engine)) == "Hello"


@pytest.mark.usefixtures("quick_looks")
async def test_who_waited_for_the_model_reads_nothing_twice() -> None:
    """They wait for a place, too, but not in the middle of their answer: the same request would say it once more."""
    later = refusing(429, headers={"Retry-After": "3600"})
    server = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), later, HELLO), VLLM)
    server.loads = 3
    async with server.serving() as address:
        inference = LocalInference(OpenAIEngine([address], ServerOptions(silence_s=5.0)), clock=time.monotonic)
        told = asyncio.create_task(Chat(inference).say("say hello"))
        await asyncio.sleep(0)
        await inference.start()
        try:
            assert said(await told) == "Hel"
        finally:
            await inference.close()


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("owner", "abcdef")
async def test_an_answer_goes_on_whatever_was_wrong_with_the_server_before_its_own(owner: str) -> None:
    """Whichever is asked first."""
    dies = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), HELLO_REST), VLLM)
    async with engine_over(OpenAIServer(refusing(500), VLLM), dies) as engine:
        assert text_of(await answer(engine, replace(ask(), owner=owner))) == "Hello"


async def test_a_context_that_is_full_in_the_middle_says_nothing_twice() -> None:
    words = "maximum context length is 4096 tokens, you requested 100 (90 in the messages)"
    full = json.dumps({"error": {"message": words, "code": "context_length_exceeded"}})
    text, failure = await failed(dying(streaming(chunk("Hel"), f"data: {full}\n\n"), HELLO))
    assert text == "Hel"
    assert isinstance(failure, TooLong)


@pytest.mark.usefixtures("quick_looks")
async def test_a_request_under_which_servers_die_costs_nobody_else_an_answer() -> None:
    connected, deaths = list[asyncio.Transport](), 0

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal deaths
        assert request.transport is not None
        connected.append(request.transport)
        if "poison" in str(body["messages"]):
            deaths += 1
            for transport in connected:
                transport.abort()
            return web.Response()
        had = body["messages"][-1]["content"].count("word")
        await asyncio.sleep(0.05)  # longer than a death takes, so nobody's text proves anything
        words = [chunk("word ") for _ in range(had, 30)]
        return await streaming(*words, chunk(finish="stop"), DONE, pause_s=0.01)(request, body)

    async with engine_over(OpenAIServer(handler, VLLM)) as engine:
        others = [asyncio.create_task(answer(engine, replace(ask(max_new_tokens=90), owner=each))) for each in "abc"]
        await asyncio.sleep(0.15)
        with pytest.raises(Unavailable):
            await answer(engine, ask("poison"))
        for other in others:
            assert text_of(await other) == "word " * 30
    assert deaths <= 2 * 5, "five tries, each once more over a new connection"


@pytest.mark.usefixtures("quick_looks")
async def test_where_servers_cannot_go_on_from_a_text_it_stands() -> None:
    """They would be asked to, and begin anew as often as not."""
    server = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), HELLO))
    async with engine_over(server) as engine:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await answer(engine)
    assert len(server.bodies) == 1


@pytest.mark.usefixtures("quick_looks")
async def test_nobody_notices_more_than_a_wait_where_a_server_dies() -> None:
    server = OpenAIServer(dying(streaming(chunk("Hel"), breaks=True), HELLO_REST), VLLM)
    async with server.serving() as address:
        engine = SupervisedEngine(lambda: OpenAIEngine([address], ServerOptions(silence_s=5.0)), silence_s=60.0)
        inference = LocalInference(engine, clock=time.monotonic)
        await inference.start()
        try:
            told = await Chat(inference).say("say hello")
        finally:
            await inference.close()
    assert (said(told), type(told[-1])) == ("Hello", Ended)
    assert QueueUpdate(0, None) in told


@pytest.mark.usefixtures("quick_looks")
async def test_somebody_reads_that_the_model_is_away_until_the_deadline() -> None:
    async with OpenAIServer(LOADS).serving() as address:
        engine = SupervisedEngine(lambda: OpenAIEngine([address], ServerOptions(silence_s=0.5)), silence_s=60.0)
        inference = LocalInference(engine, bounds=AdmissionBounds(deadline_s=1.0), clock=time.monotonic)
        await inference.start()
        try:
            told = await Chat(inference).say("say hello")
        finally:
            await inference.close()
    assert QueueUpdate(0, None) in told
    assert isinstance(told[-1], Failed)


@pytest.mark.usefixtures("quick_looks")
async def test_a_start_waits_for_a_server_that_loads() -> None:
    """Some list their model while they load it, and others do not even do that."""
    server = OpenAIServer(HELLO, {"owned_by": "vllm"})
    server.loads = 3
    async with server.serving() as address:
        engine = OpenAIEngine([address], ServerOptions(silence_s=0.5))
        await engine.start()
        assert server.loads < 0
        await engine.close()


@pytest.mark.usefixtures("quick_looks")
async def test_a_patient_start_waits_for_a_server_that_does_not_listen() -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/v1"
    with pytest.raises(Unavailable, match="cannot be reached"):
        await OpenAIEngine([address]).start()
    engine = OpenAIEngine([address], ServerOptions(patient=True))
    start = asyncio.ensure_future(engine.start())
    await until(lambda: "cannot be reached" in engine.progress)
    async with OpenAIServer(HELLO).serving(port):
        await start
        assert text_of(await answer(engine)) == "Hello"
    await engine.close()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_server_on_this_machine_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with engine_over(OpenAIServer(HELLO)) as engine:
        assert text_of(await answer(engine)) == "Hello"


async def test_the_password_in_an_address_opens_a_proxy_and_is_told_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys: list[str] = []

    async def guarded_by_a_proxy(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        keys.append(request.headers.get("Authorization", ""))
        return await refusing(500, {"message": "broken"})(request, body)

    caplog.set_level("DEBUG", logger="inference")
    async with OpenAIServer(guarded_by_a_proxy).serving() as address:
        engine = OpenAIEngine([address.replace("://", "://ann:s3cret@")], ServerOptions(silence_s=0.5))
        assert engine.info.name == address
        await engine.start()
        with pytest.raises(Unavailable) as failure:
            await answer(engine)
        await engine.close()
    assert keys == [encode_basic_auth("ann", "s3cret")]
    with pytest.raises(Unavailable) as wrong:
        engine_for("http://ann:s3cret@", LlamaOptions())
    for told in (str(failure.value), str(wrong.value), caplog.text):
        assert "s3cret" not in told
