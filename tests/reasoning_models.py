"""Models that reason in the marks of any family, without weights, below the engines' own code.

The tokenizer, the chat template and all that the engine does with them are real; only what chooses the next token is a
script. It goes on from whatever the engine says that it has said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from inference.engines.llamacpp.engine import LlamaCppEngine
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.llamacpp.prompts import LlamaPrompts
from inference.engines.openai.engine import OpenAIEngine
from inference.engines.openai.server import ServerOptions
from inference.engines.port import Engine
from inference.engines.transformers import TransformersEngine, TransformersOptions
from inference.engines.transformers.batch import Member
from inference.engines.transformers.detokenizer import Detokenizer
from inference.engines.transformers.loading import Loaded
from inference.engines.transformers.prompts import Prompts
from inference.reasoning.formats import THINK, Format
from tests import checkpoints
from tests.servers.openai import DONE, OpenAIServer, chunk

ANSWER = "the answer"
CONTEXT = 4096
_TURN = "<|im_start|>assistant\n"


@dataclass(frozen=True)
class Model:
    """What a model of the family writes, and whether its template opens the reasoning.

    Args:
        writes: all of it, in the family's marks, from the place where the template ends.
        thought: its reasoning, so that it goes on from a part of that.
        names: how its server calls it.
        tells: its server shows the end of its prompts.
    """

    format: Format
    writes: str
    thought: str
    opened: bool = False
    name: str = "some-model"
    tells: bool = True
    answer: str = ANSWER

    def goes_on(self, said: str) -> str:
        """What it writes behind that, its own marks and the template's opening one included."""
        if not said or (self.opened and said.strip() == self.format.opening.strip()):
            return self.writes
        ends = [mark for mark in (self.format.closing, THINK.closing, self.format.answer) if mark and mark in said]
        if ends:
            begun = max((said.rpartition(mark)[2] for mark in ends), key=lambda rest: -len(rest)).lstrip("\n")
            heading = "" if begun or self.format.answer in said else self.format.answer
            return heading + self.answer.removeprefix(begun)
        opening = self.format.opening if self.format.opening in said else THINK.opening
        begun = said.rpartition(opening)[2].lstrip()
        assert self.thought.startswith(begun), (said, self.thought)
        rest = self.writes[self.writes.index(self.thought) :]
        return rest.removeprefix(begun)


@lru_cache
def tokenizer(format: Format, *, opened: bool) -> Any:
    """Of the family: ChatML, its marks where they are tokens, and a template that speaks of them."""
    opening = format.opening.replace("\n", "\\n") if opened else ""
    template = checkpoints.CHATML.replace("assistant\n", f"assistant\n{opening}")
    speaks = f"{{# {' '.join(format.tokens)} {format.phrase} #}}"
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(format.tokens if format.control else ()))
    tags = () if format.control else format.tokens
    named = {"eos_token": "<|im_end|>", "additional_special_tokens": list(special)}
    return checkpoints._tokenizer(special, tags, speaks + template, **named)


class Continues:
    """Token ids of what the model writes behind a prompt."""

    def __init__(self, model: Model) -> None:
        self.model, self.tokenizer = model, tokenizer(model.format, opened=model.opened)

    def ids(self, prompt: list[int]) -> list[int]:
        text = self.tokenizer.decode(prompt, clean_up_tokenization_spaces=False)
        return self.encoded(self.model.goes_on(text.rpartition(_TURN)[2]))

    def encoded(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


@asynccontextmanager
async def transformers(model: Model, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    writes = Continues(model)
    end = writes.tokenizer.eos_token_id

    class Scripted(Loaded):
        def submit(
            self, name: str, prompt: Any, owner: str, sampling: Any, most: int, heard: Callable[[Any], None]
        ) -> Member:
            chosen = [*writes.ids(prompt.ids), end][:most]
            for at in range(1, len(chosen) + 1):
                over = at == len(chosen)
                heard(SimpleNamespace(generated_tokens=chosen[:at], error=None, is_finished=lambda over=over: over))
            return Member(row=None)  # type: ignore[arg-type]

    def load(*_: Any) -> Loaded:
        prompts = Prompts(writes.tokenizer)
        batch: Any = SimpleNamespace(drop=lambda name: None, stop=lambda **_: None, steps=0, running=0)
        hidden = frozenset(writes.tokenizer.all_special_ids) - prompts.marks
        size = len(writes.tokenizer)
        return Scripted(batch, prompts, writes.tokenizer, frozenset({end}), hidden, size, CONTEXT, "m", "r")

    patch.setattr("inference.engines.transformers.loading.load", load)
    engine = TransformersEngine("m", TransformersOptions(slots=1, context_tokens=CONTEXT))
    await engine.start()
    yield engine
    await engine.close()


class _Library:
    """llama.cpp's server, as the engine calls it."""

    listening_address = "http://127.0.0.1:1"

    def __init__(self, writes: Continues) -> None:
        self._writes = writes

    def load(self, *_: Any) -> None: ...

    def close(self) -> None: ...

    def handle_completions(self, body: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        tokenizer = self._writes.tokenizer
        kept = {tokenizer.convert_tokens_to_ids(mark) for mark in body.get("preserved_tokens", [])}
        hidden = set(tokenizer.all_special_ids) - kept
        text = Detokenizer(lambda ids: tokenizer.decode([each for each in ids if each not in hidden]))
        chosen = self._writes.ids(body["prompt"])
        for token in chosen[: body["n_predict"]]:
            if take({"choices": [{"text": text.feed(token), "finish_reason": None}]}):
                return
        count = min(len(chosen), body["n_predict"])
        reason = "length" if len(chosen) > count else "stop"
        take({"choices": [{"text": "", "finish_reason": reason}], "usage": {"completion_tokens": count}})


def _client(writes: Continues) -> Callable[..., LlamaPrompts]:
    plain = Prompts(writes.tokenizer)._plain

    class Client(LlamaPrompts):
        async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
            match path, body:
                case "/apply-template", {"messages": turns}:
                    return {
                        "prompt": writes.tokenizer.apply_chat_template(
                            turns, tokenize=False, add_generation_prompt=True
                        )
                    }
                case "/tokenize", {"content": text, "parse_special": special}:
                    return {"tokens": writes.encoded(text) if special else plain(text)}
                case "/v1/models", _:
                    return {"data": [{"meta": {"n_ctx_train": CONTEXT}}]}
                case _:
                    settings = {"n_ctx": CONTEXT}
                    return {"default_generation_settings": settings, "chat_template": writes.tokenizer.chat_template}

    return Client


@asynccontextmanager
async def llama(model: Model, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    writes = Continues(model)
    path = folder / "m.gguf"
    path.write_bytes(b"GGUF")
    patch.setattr("inference.engines.llamacpp.engine.LlamaServer", lambda: _Library(writes))
    patch.setattr("inference.engines.llamacpp.engine._client", lambda: _client(writes))
    engine = LlamaCppEngine(path, LlamaOptions(slots=1, context_tokens=CONTEXT))
    await engine.start()
    yield engine
    await engine.close()


def _chunks(text: str, most: int) -> Iterator[str]:
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    yield from map(chunk, pieces[:most])
    yield chunk(finish="length" if len(pieces) > most else "stop")
    yield DONE


@asynccontextmanager
async def server(model: Model, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else model.format.opening * model.opened
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in _chunks(model.goes_on(said), body.get("max_tokens", CONTEXT)):
            await response.write(event.encode())
        return response

    wire = OpenAIServer(answer, {"id": model.name, "owned_by": "vllm", "max_model_len": CONTEXT})
    if model.tells:
        wire.tokens = ["<|im_start|>", "assistant", "\n", *([model.format.opening] if model.opened else [])]
    async with wire.serving() as address:
        engine = OpenAIEngine([address], ServerOptions(silence_s=10))
        await engine.start()
        yield engine
        await engine.close()


ENGINES = {"llama.cpp": llama, "transformers": transformers, "server": server}
