"""Reasoning of every family on every engine: opened by whom, unclosed, in code, cut by the budget, continued."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.api import ChatRequest, Event, Finished, Message, Reclassified, Sampling, Text, Thinking
from inference.engine_factory import demo_model
from inference.engines.llamacpp.engine import LlamaCppEngine
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.llamacpp.prompts import LlamaPrompts
from inference.engines.openai.engine import OpenAIEngine
from inference.engines.openai.server import ServerOptions
from inference.engines.openai.wire import Asking, dialect_of
from inference.engines.port import Engine, Piece
from inference.engines.scripted import ScriptedEngine
from inference.engines.transformers import TransformersEngine, TransformersOptions
from inference.engines.transformers.prompts import Prompts
from inference.reasoning.formats import FORMATS, Format
from inference.reasoning.prefix import handed_on
from inference.serving.service import LocalInference
from tests import checkpoints
from tests.servers.openai import DONE, OpenAIServer, chunk, streaming
from tests.unit.test_reasoning import FAMILIES, WRITTEN

CERTAIN = [name for name in WRITTEN if FAMILIES[name].certain]
WITH_TOKENS = [format for format in FORMATS if format.tokens and format.name != "openthoughts"]


def ask(*, prefix: str = "", **sampling: Any) -> ChatRequest:
    settings = Sampling(**{"max_new_tokens": 40, "seed": 1, **sampling})
    return ChatRequest(id="r", messages=(Message("user", "x"),), sampling=settings, owner="ann", prefix=prefix)


async def told(engine: Engine, request: ChatRequest) -> tuple[str, str, Finished]:
    """(reasoning, answer, end) as the service tells them."""
    thinking, answer = "", ""
    async with aclosing(LocalInference(engine, clock=lambda: 0.0).stream(request)) as events:
        async for event in events:
            if isinstance(event, Thinking):
                thinking += event.text
            elif isinstance(event, Text):
                answer += event.text
            elif isinstance(event, Reclassified):
                thinking, answer = thinking + answer, ""
            elif isinstance(event, Finished):
                return thinking, answer, event
    raise AssertionError("it has no end")


@asynccontextmanager
async def scripted(folder: Path, answer: str) -> AsyncIterator[Engine]:
    path = folder / "script.jsonl"
    path.write_text(json.dumps({"match": "", "answer": answer, "tokens_per_s": 500, "first_token_s": 0}))
    engine = ScriptedEngine(path)
    await engine.start()
    yield engine


@asynccontextmanager
async def served(
    *events: str, name: str = "some-model", owner: str = ""
) -> AsyncIterator[tuple[OpenAIEngine, OpenAIServer]]:
    server = OpenAIServer(streaming(*events), {"id": name, "owned_by": owner})
    async with server.serving() as address:
        engine = OpenAIEngine([address], ServerOptions(silence_s=2))
        await engine.start()
        yield engine, server
        await engine.close()


def pieces(text: str) -> list[str]:
    return [chunk(text[at : at + 3]) for at in range(0, len(text), 3)]


ENDED = (chunk(finish="stop"), DONE)


@pytest.mark.parametrize("name", CERTAIN)
async def test_what_the_model_opens_is_never_answer(name: str, tmp_path: Path) -> None:
    written = WRITTEN[name].format("hm hm", "the answer")
    async with scripted(tmp_path, written) as engine:
        thinking, answer, _ = await told(engine, ask())
        assert (thinking.strip(), answer) == ("hm hm", "the answer")
    async with served(*pieces(written), *ENDED) as (engine, _server):
        thinking, answer, _ = await told(engine, ask())
        assert (thinking.strip(), answer) == ("hm hm", "the answer")


@pytest.mark.parametrize("name", CERTAIN)
async def test_the_budget_ends_the_reasoning_of_every_family(name: str, tmp_path: Path) -> None:
    async with scripted(tmp_path, WRITTEN[name].format("hm " * 100, "the answer")) as engine:
        thinking, answer, end = await told(engine, ask(thinking_budget=10))
        assert answer == "the answer"
        assert 0 < thinking.count("hm") <= 20
        assert end.reason == "stop"


@pytest.mark.parametrize("name", CERTAIN)
@pytest.mark.parametrize("said", ["<think>hm ", handed_on("hm hm", "the "), handed_on("hm hm", "")])
async def test_an_answer_of_every_family_goes_on_from_what_is_handed_on(name: str, said: str, tmp_path: Path) -> None:
    async with scripted(tmp_path, WRITTEN[name].format("hm hm", "the answer")) as engine:
        thinking, answer, _ = await told(engine, ask(prefix=said))
        assert thinking.strip() == ("hm" if said.endswith("hm ") else "")
        assert ("the " if said.endswith("the ") else "") + answer == "the answer"


async def test_reasoning_that_is_never_closed_gets_an_answer(tmp_path: Path) -> None:
    async with scripted(tmp_path, "[THINK]hm hm") as engine:
        thinking, answer, _ = await told(engine, ask())
        assert (thinking, answer) == ("hm hm", "")


@pytest.mark.parametrize("format", WITH_TOKENS, ids=lambda format: format.name)
@pytest.mark.parametrize("opened", [True, False], ids=["opened", "not opened"])
async def test_transformers_closes_the_reasoning_with_the_marks_of_the_family(
    format: Format, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if opened and not format.in_template:
        pytest.skip("no template of this family opens the reasoning")
    checkpoints.reasoning(tmp_path, format, opened=opened)
    engine = TransformersEngine(str(tmp_path), TransformersOptions(slots=1, context_tokens=256, threads=1))
    await engine.start()
    prompts = []
    encode = Prompts.encode

    def watched(self: Prompts, *arguments: Any) -> Any:
        prompts.append(encode(self, *arguments))
        return prompts[-1]

    monkeypatch.setattr(Prompts, "encode", watched)
    try:
        assert engine.info.reasoning
        said = ask(max_new_tokens=4, thinking_budget=3, prefix="" if opened else "<think>hm")
        thinking, answer, end = await told(engine, said)
        assert thinking
        assert (end.usage.completion_tokens, end.reason) == (4, "length")
        loaded = engine._running()
        ids = loaded.prompts._tokenizer.get_added_vocab()
        marks = [token for token in prompts[-1].ids if token in {ids[mark] for mark in format.tokens}]
        written = "".join(loaded.prompts._tokenizer.convert_ids_to_tokens(marks))
        assert written == "".join(
            mark
            for part in (format.opening, format.closing, format.answer)
            for mark in sorted(format.tokens, key=part.find)
            if mark in part
        )
        assert all(mark in loaded.decode([ids[mark]]) for mark in format.tokens), "marks reach the splitter"
        assert not any(mark in thinking + answer for mark in format.tokens)
    finally:
        await engine.close()


async def test_an_instruct_model_whose_template_only_speaks_of_thinking_does_not_reason(tmp_path: Path) -> None:
    folder = checkpoints.chatml(tmp_path)
    template = folder / "chat_template.jinja"
    template.write_text("{# content.split('</think>')[-1] if '<think>' #}" + template.read_text())
    engine = TransformersEngine(str(folder), TransformersOptions(slots=1, context_tokens=128, threads=1))
    await engine.start()
    assert not engine.info.reasoning
    await engine.close()


async def test_llama_opens_closes_and_shows_the_marks_of_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    post = LlamaPrompts.post
    bodies: list[dict[str, Any]] = []

    async def opening(self: LlamaPrompts, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = await post(self, path, body)
        return {"prompt": reply["prompt"] + "[THINK]"} if path == "/apply-template" else reply

    monkeypatch.setattr(LlamaPrompts, "post", opening)
    engine = LlamaCppEngine(demo_model(), LlamaOptions(slots=1, context_tokens=512, threads=1))
    await engine.start()
    handle = engine._server.handle_completions

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(server, name)

        def handle_completions(self, body: dict[str, Any], take: Any) -> Any:
            bodies.append(body)
            return handle(body, take)

    server = engine._server
    monkeypatch.setattr(engine, "_server", Watched())
    try:
        assert engine.info.reasoning
        thinking, answer, end = await told(engine, ask(thinking_budget=5, max_new_tokens=5))
        assert thinking
        assert answer
        assert end.usage.thinking_tokens == 5
        said = (await engine._running().post("/detokenize", {"tokens": bodies[-1]["prompt"]}))["content"]
        assert said.endswith(f"[THINK]{thinking.rstrip()}\n[/THINK]"), (said, "not by another family's marks")
        # A control token of the model, as a mark: without asking for it, it would not be in the text.
        start = (await engine._running().control("<|im_start|>"))[0]
        for marks, shown in (([], False), (["<|im_start|>"], True)):
            engine._marks = marks
            monkeypatch.setattr(
                "inference.engines.llamacpp.engine._sampling", lambda sampling: {"logit_bias": [[start, 1000.0]]}
            )
            async with aclosing(engine.generate(ask(max_new_tokens=2))) as outputs:
                text = "".join([output.text async for output in outputs if isinstance(output, Piece)])
            assert ("<|im_start|>" in text) is shown
    finally:
        await engine.close()


def both(reasoning: object, content: object) -> str:
    delta = {"reasoning_content": reasoning, "content": content}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"


def field(name: str, text: str) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {name: text}}]})}\n\n"


def delta(values: dict[str, object]) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': values}]})}\n\n"


def details(kind: str = "reasoning.text", *, beside: dict[str, object] | None = None, **values: str) -> str:
    """As OpenRouter sends it."""
    return delta({"reasoning_details": [{"type": kind, "index": 0, **values}], "content": "", **(beside or {})})


def message(content: str, reasoning: str | None = None, delta: object = None) -> str:
    said = {"role": "assistant", "content": content, "reasoning_content": reasoning}
    choice = {"index": 0, "message": said, **({} if delta is None else {"delta": delta})}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


@pytest.mark.parametrize(
    "events",
    [
        [message("the whole answer of it", "hm")],
        [message("the whole answer of it", "hm", delta={})],
        [message("", "hm"), message("the whole "), message("answer of it")],
        [message("the whole answer", "hm"), message("the whole answer of", "hm"), message("the whole answer of it")],
        [field("reasoning_content", "hm"), chunk("the whole answer of it"), message("the whole answer of it", "hm")],
    ],
)
async def test_a_server_may_send_messages_in_place_of_deltas(events: list[str]) -> None:
    async with served(*events, *ENDED) as (engine, _server):
        thinking, answer, _ = await told(engine, ask())
        assert (thinking.replace("hmhm", "hm"), answer) == ("hm", "the whole answer of it")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["4", "42", "42"], "42"),
        (["42", "42.", "42. So it is, and so it was"], "42. So it is, and so it was"),
        (["1", "1", "2"], "112"),
        (["ha", "ha ha", "!"], "haha ha!"),
        (["the whole ", "answer", "the whole answer"], "the whole answer"),
        (["A", "", "An"], "An"),
    ],
)
async def test_short_messages_that_repeat_what_was_said_are_told_once(said: list[str], answer: str) -> None:
    async with served(*map(message, said), *ENDED) as (engine, _server):
        assert (await told(engine, ask()))[:2] == ("", answer)
    async with served(*(message("", text) for text in said), chunk("42"), *ENDED) as (engine, _server):
        assert (await told(engine, ask()))[:2] == (answer, "42")


NESTED = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]


@pytest.mark.parametrize(
    ("events", "thinking", "answer"),
    [
        ([chunk("\n"), field("reasoning_content", "hm"), chunk("\n\n42")], "hm", "42"),
        ([field("reasoning_content", "h"), chunk("42"), field("reasoning_content", "m")], "h\n\nm", "42"),
        ([chunk("42"), field("reasoning", "hm")], "hm", "42"),
        ([both("hm", "42")], "hm", "42"),
        ([both("h", ""), both("m", "4"), both(None, "2")], "hm", "42"),
        ([field("thinking", "hm"), chunk("42")], "hm", "42"),
        ([field("reasoning_content", "<think>\nhm\n</think>"), chunk("42")], "hm", "42"),
        ([field("reasoning_content", "<thi"), field("reasoning_content", "nk>hm"), chunk("42")], "hm", "42"),
        ([field("reasoning_content", "hm</think>"), chunk("42")], "hm", "42"),
        ([field("reasoning_content", "[THINK]hm[/THINK]"), chunk("42")], "hm", "42"),
        ([field("reasoning_content", "<thinking>hm</thinking>"), chunk("42")], "hm", "42"),
        ([chunk("["), field("reasoning_content", "hm"), chunk("1, 2]")], "hm", "[1, 2]"),
        ([chunk("<thi"), field("reasoning_content", "hm"), chunk("nk>more</think>42")], "hm\n\nmore", "42"),
        ([both(None, NESTED)], "hm", "42"),
        ([both(None, NESTED[:1]), both(None, NESTED[1:])], "hm", "42"),
        ([field("reasoning_content", "hm `x"), chunk("42")], "hm `x", "42"),
        ([details(text="h"), details(text="m"), chunk("42")], "hm", "42"),
        ([details("reasoning.summary", summary="hm"), chunk("42")], "hm", "42"),
        ([details("reasoning.encrypted", data="c2VjcmV0"), chunk("42")], "", "42"),
        ([details(text="hm", beside={"reasoning": "hm"}), chunk("42")], "hm", "42"),
        ([details(text="hm", beside={"content": "42"})], "hm", "42"),
        ([delta({"reasoning": "hm", "reasoning_content": "hm"}), chunk("42")], "hm", "42"),
        ([both(None, [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "42"}])], "hm", "42"),
        ([both(None, [{"type": "reasoning", "reasoning": "hm"}]), chunk("42")], "hm", "42"),
        ([both(None, [{"type": "redacted_thinking", "data": "c2VjcmV0"}, {"type": "text", "text": "42"}])], "", "42"),
        ([field("reasoning", "<think>\nhm"), field("reasoning", "\n</think>\n\n"), chunk("\n\n42")], "hm", "42"),
    ],
)
async def test_what_a_server_keeps_apart_is_reasoning_whatever_the_order(
    events: list[str], thinking: str, answer: str
) -> None:
    async with served(*events, *ENDED) as (engine, server):
        found = await told(engine, ask())
        assert (found[0].strip(), found[1]) == (thinking, answer)
        assert found[2].reason == "stop"
        assert len(server.bodies) == 1, "it has answered, whatever came last"
        assert engine.info.reasoning is bool(thinking)
        assert (await told(engine, ask()))[:2] == found[:2]


async def test_a_server_that_opened_the_reasoning_itself_and_does_not_say_so() -> None:
    events = ["secret ", "thought</think>", "\n\nthe ", "answer"]
    async with served(*map(chunk, events), *ENDED, name="DeepSeek-R1-Distill") as (engine, _server):
        for _ in range(2):
            assert (await told(engine, ask()))[:2] == ("secret thought", "the answer")
        assert engine._opens, "it has learnt that, and holds nothing back from now on"


async def test_a_server_that_takes_the_reasoning_away_is_not_waited_for_twice() -> None:
    async with served(chunk("the "), chunk("answer"), *ENDED, name="DeepSeek-R1-Distill") as (engine, _server):
        assert (await told(engine, ask()))[:2] == ("", "the answer")
        assert engine._opens is False


ORPHANS = [name for name in CERTAIN if FAMILIES[name].in_template]


def orphan(name: str) -> str:
    """What a model of the family writes whose template has opened the reasoning."""
    return WRITTEN[name].format("secret", "the answer").removeprefix(FAMILIES[name].opening).lstrip("\n")


async def events_of(engine: Engine, request: ChatRequest) -> list[Event]:
    async with aclosing(LocalInference(engine, clock=lambda: 0.0).stream(request)) as events:
        return [event async for event in events]


@pytest.mark.parametrize("name", ORPHANS)
async def test_an_end_without_a_beginning_tells_that_all_before_it_was_reasoning(name: str, tmp_path: Path) -> None:
    async with served(*pieces(orphan(name)), *ENDED) as (engine, _server):
        events = await events_of(engine, ask())
        assert sum(isinstance(event, Reclassified) for event in events) == 1
        before = events[: events.index(Reclassified())]
        assert "".join(event.text for event in before if isinstance(event, Text)).startswith("sec"), "at once"
        thinking, answer, end = await told(engine, ask())
        assert (thinking.strip(), answer) == ("secret", "the answer"), "the next one is held until that is known"
    async with scripted(tmp_path, orphan(name)) as engine:
        thinking, answer, end = await told(engine, ask())
        assert (thinking.strip(), answer) == ("secret", "the answer")
        assert end.usage.thinking_tokens > 0
        assert end.usage.completion_tokens > 0


async def test_families_whose_templates_never_open_reasoning_have_no_end_without_a_beginning() -> None:
    async with served(*pieces("So</think>\n\nyes"), *ENDED, name="gpt-oss-20b") as (engine, _server):
        assert (await told(engine, ask()))[:2] == ("", "So</think>\n\nyes")


@pytest.mark.parametrize(
    "answer",
    [
        "the tag `</think>` ends it",
        "so:\n\n```\n<think>\n</think>\n```\n\nfine",
        "write <think>, then </think>, then more",
        "a `</think",
        "a [/THIN",
        "It thinks.\n\nIt thinks more.\n\nIn the end it writes </think> and answers.",
        'It stops at "</think>", at (</think>) or at **</think>**.',
        "- </think> closes it",
        "# Tags\n\nOne stands alone:\n\n</think>\n\nThat is all.",
    ],
)
async def test_a_literal_end_in_code_or_behind_its_beginning_stays_text(answer: str, tmp_path: Path) -> None:
    async with served(*pieces(answer), *ENDED) as (engine, _server):
        assert (await told(engine, ask()))[:2] == ("", answer)
    async with scripted(tmp_path, answer) as engine:
        assert (await told(engine, ask()))[:2] == ("", answer)


async def test_reasoning_without_a_beginning_takes_no_tokens_of_the_answer(tmp_path: Path) -> None:
    """The engine stopped at what was to be the answer's length: the answer goes on from there."""
    async with scripted(tmp_path, "hm " * 29 + "hm</think>" + "word " * 30) as engine:
        thinking, answer, end = await told(engine, ask(max_new_tokens=35))
        assert thinking.count("hm") == 30
        assert answer.count("word") >= 29
        assert end.usage.completion_tokens <= 35
        assert end.usage.thinking_tokens >= 30


async def test_an_answer_that_is_continued_may_turn_out_to_be_reasoning(tmp_path: Path) -> None:
    """A crash, or Continue, in the middle of it: what was said before belongs to it."""
    async with scripted(tmp_path, "secret thoughts</think>the answer") as engine:
        events = await events_of(engine, ask(prefix="secret "))
        assert "".join(event.text for event in events if isinstance(event, Text)) == "thoughtsthe answer"
        assert Reclassified() in events


async def test_reasoning_of_earlier_answers_never_goes_back() -> None:
    turns = (
        Message("user", "what is `</think>`?"),
        Message("assistant", "secret</think>the answer"),
        Message("user", "a</think>b"),
        Message("assistant", "<think>hm</think>\n\nit is `</think>`"),
        Message("user", "x"),
    )
    async with served(chunk("hi"), *ENDED) as (engine, server):
        await events_of(engine, ChatRequest(id="r", messages=turns, sampling=Sampling(), owner="ann"))
    sent = [message["content"].replace("\u200b", "") for message in server.bodies[-1]["messages"]]
    assert sent == ["what is `</think>`?", "the answer", "a</think>b", "it is `</think>`", "x"]


async def test_two_blocks_of_reasoning_are_two_paragraphs(tmp_path: Path) -> None:
    async with scripted(tmp_path, "<think>one</think>\n\n<think>two</think>\n\nthe answer") as engine:
        assert (await told(engine, ask()))[:2] == ("one\n\ntwo", "the answer")


async def test_reasoning_is_handed_to_a_server_in_the_marks_of_its_family() -> None:
    request = ask(prefix="<think>hm\n</think>\n\nthe <|im_end|>")
    for format, said in (
        (None, "<think>hm\n</think>\n\nthe <\u200b|im_end|>"),
        (FAMILIES["magistral"], "[THINK]hm\n[/THINK]the <\u200b|im_end|>"),
    ):
        asking = Asking(request, dialect_of({"owned_by": "vllm"}), "m", None, (), format)
        assert asking.body()["messages"][-1] == {"role": "assistant", "content": said}


@pytest.mark.parametrize(
    "mark", ["[THINK]", "[/THINK]", "◁think▷", "<seed:think>", "<|channel>", "<channel|>", "<THINK>"]
)
async def test_marks_that_people_type_do_not_reach_the_server(mark: str) -> None:
    async with served(chunk("hi"), *ENDED) as (engine, server):
        messages = (Message("user", f"hi{mark} there"),)
        await told(engine, ChatRequest(id="r", messages=messages, sampling=Sampling(), owner="ann"))
    sent = server.bodies[-1]["messages"][0]["content"]
    assert mark not in sent
    assert sent.replace("\u200b", "") == f"hi{mark} there"
