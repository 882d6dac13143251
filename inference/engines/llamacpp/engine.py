"""llama.cpp in a child process, by the `xllamacpp` wheels: GGUF files, on CPUs and on whatever the build supports.

Everything goes through the library's own HTTP server, on a loopback port behind a random key.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inference.api import ChatRequest, Message, ModelInfo, Sampling, TooLong, Unavailable
from inference.checkpoints.revisions import of_file
from inference.engines.cache_salt import KnownPrefixes, Prefix
from inference.engines.lengths import count_within, may_be_far_too_long
from inference.engines.llamacpp.presence_penalty import PresencePenalty
from inference.engines.llamacpp.process import LlamaOptions
from inference.engines.llamacpp.server import LlamaServer
from inference.engines.llamacpp.slots import Slots
from inference.engines.llamacpp.thread_bridge import ThreadBridge
from inference.engines.port import Closed, Opened, Output, Piece, Progress, RequestRejected, answer_one_token
from inference.reasoning.formats import FORMATS, OPEN, Format, format_of
from inference.reasoning.prefix import resume

if TYPE_CHECKING:
    from inference.engines.llamacpp.prompts import LlamaPrompts

_LEAST_OWN = 8
"""Tokens; to read fewer takes no longer than to cut a slot back to them."""
# The order of transformers and vLLM: the temperature is applied before the tail is cut off.
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p"]


class LlamaCppEngine:
    """One GGUF file, loaded once, decoding up to `slots` requests in a batch."""

    def __init__(self, path: Path, options: LlamaOptions | None = None, *, name: str | None = None) -> None:
        self._path = path
        self._options = options or LlamaOptions()
        self._info = ModelInfo(name=name or path.stem, context_tokens=self._options.context_tokens)
        self._server = LlamaServer()
        self._prompts: LlamaPrompts | None = None
        # One more for the check, which must not wait in vain behind calls that hang.
        self._threads = ThreadPoolExecutor(self._options.slots + 1, thread_name_prefix="llama")
        self._steps = 0
        self._format: Format | None = None
        self._marks: list[str] = []
        """Control tokens that are marks of reasoning."""
        self._closing = threading.Event()
        self._prefixes = KnownPrefixes()
        self._free = Slots(self._options.slots)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def slots(self) -> int:
        return self._options.slots

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def progress(self) -> str:
        return ""

    @property
    def share(self) -> float | None:
        return None

    @property
    def lost(self) -> bool:
        return False

    @property
    def is_being_replaced(self) -> bool:
        return False

    async def check(self) -> None:
        await answer_one_token(self)

    async def start(self) -> None:
        key = secrets.token_urlsafe(24)
        try:
            await asyncio.to_thread(self._server.load, self._path, self._options, key)
            client = await asyncio.to_thread(_client)
            self._prompts = client(self._server.listening_address, key)
            await self._read_info(self._prompts)
        except BaseException:  # also one who is cancelled leaves no process behind
            await self.close()
            raise

    async def close(self) -> None:
        self._closing.set()
        if self._prompts is not None:
            await self._prompts.close()
        await asyncio.to_thread(self._server.close)
        await asyncio.to_thread(self._threads.shutdown)

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        steps = self._at_least(request) if request.sampling.min_new_tokens else self._generate(request)
        async with aclosing(steps) as outputs:
            async for output in outputs:
                yield output

    async def _at_least(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """llama.cpp knows no least length: as many tokens without an end, then the rest from there, in the cache."""
        sampling = request.sampling
        least = replace(sampling, max_new_tokens=sampling.min_new_tokens, min_new_tokens=0)
        said, first = request.prefix, None
        async with aclosing(self._generate(replace(request, sampling=least), ends=False)) as outputs:
            async for output in outputs:
                if isinstance(output, Closed):
                    first = output
                    break
                if isinstance(output, Piece):
                    said += output.text
                elif isinstance(output, Opened) and output.thinking:
                    said += OPEN
                yield output
        if first is None:
            return
        left = sampling.max_new_tokens - sampling.min_new_tokens
        if first.reason == "stop" or first.completion_tokens < sampling.min_new_tokens or not left:
            yield first
            return
        # Another seed, or the noise of the first tokens would come again.
        seed = None if sampling.seed is None else (sampling.seed + 1) % (2**32 - 1)
        rest = replace(sampling, max_new_tokens=left, min_new_tokens=0, seed=seed)
        try:
            async with aclosing(self._generate(replace(request, sampling=rest, prefix=said))) as outputs:
                async for output in outputs:
                    if isinstance(output, Closed):
                        total = first.completion_tokens + output.completion_tokens
                        yield Closed(output.reason, total, first.cached_tokens)
                    elif not isinstance(output, Opened):
                        yield output
        except TooLong:
            yield first

    async def _generate(self, request: ChatRequest, *, ends: bool = True) -> AsyncGenerator[Output, None]:
        prompts = self._running()
        await self._refuse_far_too_long(request.messages)
        template, messages = await prompts.template(request.messages)
        prompt = await prompts.encode(template, messages)
        rendered = "".join(template)
        said = await prompts.said(resume(rendered, request.prefix, self._format))
        size = len(prompt) + len(said)
        room = self._info.context_tokens - size
        if room < 1:
            raise TooLong(self._info.context_tokens, size)
        opened = self._format is not None and self._format.opened_by(rendered)
        thinking = not request.prefix and opened
        yield Opened(size, thinking=thinking, format=self._format, orphans=self._format is not None)
        body = {"prompt": prompt + said, **_sampling(request.sampling), "stream": True, "return_progress": True}
        body["n_predict"] = most = min(request.sampling.max_new_tokens, room)
        body["repeat_last_n"] = self._info.context_tokens
        body["ignore_eos"] = not ends
        # Control tokens are left out of the text, but for these.
        body["preserved_tokens"] = self._marks
        prefix = self._prefixes.of(request.owner, body["prompt"], await prompts.head(template))
        stop, is_read = threading.Event(), False
        slot = self._free.take(prefix)
        try:
            body |= await self._placed(slot, prefix, body["prompt"][: prefix.own], stop)
            if request.sampling.presence_penalty:
                steps = self._present(body, stop, PresencePenalty(request.sampling, prompt, said, most=most))
            else:
                steps = self._outputs(body, stop)
            async with aclosing(steps) as outputs:
                async for output in outputs:
                    if isinstance(output, Piece) and not is_read:
                        prefix.read()
                        if slot is not None:
                            self._free.read(slot)
                        is_read = True
                    yield output
        finally:
            stop.set()
            if slot is not None:
                self._free.give(slot, prefix)

    async def _placed(
        self, slot: int | None, prefix: Prefix, own: Sequence[int], stop: threading.Event
    ) -> dict[str, Any]:
        """Where a prompt is read, such that nothing but its head and its owner's own words is found in a cache.

        The library keeps prompts in its slots and in memory for whoever comes with the same tokens. A prompt that
        others have begun like this goes into a slot that was cut back to what is `own`; the library looks into its
        memory only for a slot that would lose more than it keeps, which such a one never does.
        """
        if slot is None:  # the library takes whichever is free first
            return {"cache_prompt": prefix.may_reuse}
        if prefix.may_reuse or len(own) < _LEAST_OWN:
            return {"id_slot": slot, "cache_prompt": prefix.may_reuse}
        cut = {"prompt": [*own], "n_predict": 0, "stream": True, "return_progress": True, "id_slot": slot}
        async with aclosing(self._outputs(cut, stop)) as outputs:
            async for _ in outputs:
                pass
        return {"id_slot": slot, "cache_prompt": True}

    async def _present(
        self, body: dict[str, Any], stop: threading.Event, presence: PresencePenalty
    ) -> AsyncGenerator[Output, None]:
        """The outputs of as many calls as the presence penalty takes, as if they were one."""
        while True:
            plain, parts = self._running().plain, presence.parts
            presence.parts = [await plain(part) if isinstance(part, str) else part for part in parts]
            async with aclosing(self._outputs(body | presence.call(), stop, presence.hear)) as outputs:
                async for output in outputs:
                    yield presence.whole(output) if isinstance(output, Closed) else output
            if not presence.cut:
                return

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await count_within(messages, self._info.context_tokens, self._count)

    async def _count(self, messages: Sequence[Message]) -> int:
        prompts = self._running()
        return len(await prompts.encode(*await prompts.template(messages)))

    async def _refuse_far_too_long(self, messages: Sequence[Message]) -> None:
        limit = self._info.context_tokens
        if may_be_far_too_long(messages, limit) and (tokens := await self.count_tokens(messages)) >= limit:
            raise TooLong(limit, tokens)

    async def _outputs(
        self, body: dict[str, Any], stop: threading.Event, ends: Callable[[dict[str, Any]], bool] = lambda chunk: False
    ) -> AsyncGenerator[Output, None]:
        """One call's outputs; it is over with a chunk of which `ends`, in the library's thread, says so."""
        loop = asyncio.get_running_loop()
        chunks = ThreadBridge(loop)

        def take(chunk: dict[str, Any]) -> bool:
            # Also one without text: with `return_progress` each step in which a part of the prompt is read sends one.
            self._steps += 1
            if stop.is_set() or self._closing.is_set():
                return True
            chunks.put(chunk)
            return ends(chunk)

        def work() -> None:
            try:
                self._server.handle_completions(body, take)
            finally:
                chunks.put(None)

        done = loop.run_in_executor(self._threads, work)
        done.add_done_callback(lambda each: each.cancelled() or each.exception())  # nobody awaits it behind a Stop
        count = 0
        async with aclosing(chunks.all()) as arriving:
            async for chunk in arriving:
                output = _output(chunk, count, self._info.context_tokens)
                count += output.tokens if isinstance(output, Piece) else 0
                yield output
        await done
        if self._closing.is_set():
            raise Unavailable("the engine is closing")

    async def _read_info(self, prompts: LlamaPrompts) -> None:
        models = await prompts.get("/v1/models")
        properties = await prompts.get("/props")
        trained = int(models["data"][0]["meta"]["n_ctx_train"])
        context = min(trained, int(properties["default_generation_settings"]["n_ctx"]))
        probe = "".join((await prompts.template([Message("user", "x")]))[0])
        marks = {mark for format in FORMATS for mark in format.tokens}
        tokens = {mark for mark in marks if len(await prompts.control(mark)) == 1}
        self._format, reasoning = format_of(str(properties.get("chat_template", "")), probe, tokens.__contains__)
        formats = FORMATS if self._format is None else (self._format,)
        self._marks = sorted({mark for format in formats for mark in format.tokens} & tokens)
        self._info = ModelInfo(
            name=self._info.name,
            context_tokens=context,
            holds_prefix=True,
            reasoning=reasoning,
            reference=self._path.name,
            revision=await asyncio.to_thread(of_file, self._path),
        )

    def _running(self) -> LlamaPrompts:
        if self._prompts is None:
            raise Unavailable("the engine is not running")
        return self._prompts


def _client() -> type[LlamaPrompts]:
    """Imports a library for HTTP, which no platform waits for."""
    from inference.engines.llamacpp.prompts import LlamaPrompts

    return LlamaPrompts


def _sampling(sampling: Sampling) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "samplers": _SAMPLERS,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
    }
    return settings if sampling.seed is None else settings | {"seed": sampling.seed}


def _output(chunk: dict[str, Any], count: int, context_tokens: int) -> Output:
    """One chunk of llama.cpp's stream; a chunk is a token, except when a character spans several."""
    if "error" in chunk:
        error = chunk["error"]
        if error.get("type") == "exceed_context_size_error":
            raise TooLong(context_tokens, int(error["n_prompt_tokens"]))
        message = f"llama.cpp: {error.get('message', error)}"
        raise RequestRejected(message) if error.get("type") == "invalid_request_error" else Unavailable(message)
    choice = chunk["choices"][0]
    if choice["finish_reason"] is not None:
        usage = chunk.get("usage", {})
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        ended: Literal["stop", "length"] = "length" if choice["finish_reason"] == "length" else "stop"
        return Closed(ended, int(usage.get("completion_tokens", count)), int(cached))
    return Piece(choice["text"], 1) if choice["text"] else Progress()
