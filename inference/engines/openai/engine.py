"""Any OpenAI-compatible server (vLLM, SGLang, llama-server, `transformers serve`, hosted ones), by the `openai` client.

This is how Partyline leaves one machine: several addresses, separated by commas, are replicas of one model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from inference.api import Busy, ChatRequest, Filtered, InferenceError, Message, ModelInfo, TooLong, Unavailable
from inference.checkpoints.references import without_user
from inference.engines.cache_salt import KnownPrefixes
from inference.engines.lengths import count_within
from inference.engines.openai.load_balancer import Replica, choose
from inference.engines.openai.refused_fields import UnsupportedRequest
from inference.engines.openai.server import Elsewhere, Server, ServerAway, ServerLost, ServerOptions
from inference.engines.openai.wire import (
    Asking,
    Dialect,
    Malformed,
    Reader,
    context_of,
    dialect_of,
    estimate,
    seems_to_reason,
)
from inference.engines.partial_answer import PartialAnswer
from inference.engines.port import Output, Piece, Progress, Replacing, RequestRejected
from inference.engines.stop_strings import StopFilter
from inference.failures.suspects import Suspects, Trial
from inference.reasoning.formats import Format, named, opened_by

log = logging.getLogger(__name__)

_CHECK_S = 3.0
_COUNT_S = 10.0
_LOOK_AGAIN_S = 1.0
_REMEMBERED_COUNTS = 256
# So many servers go away under a request, one after the other, before it has brought anything: it may be the reason.
_LOSSES = 5
# For so long somebody waits in the middle of an answer for a server that has said when to come again.
_BUSY_S = 60.0
# About the words of eight tokens; llama-server keeps prompts for everybody, and can only be told to pass them by.
_COMPARED_BYTES = 32


class OpenAIEngine:
    """One model behind one or several addresses (`http://host:8000/v1`)."""

    def __init__(
        self,
        addresses: Sequence[str],
        options: ServerOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options or ServerOptions()
        self._clock = clock
        plain = [address.rstrip("/") for address in addresses]
        servers = [Server(address, self._options) for address in plain]
        self._replicas = [Replica(server.address, server) for server in servers]
        self._dialect = Dialect()
        self._model = self._options.model
        self._info = ModelInfo(name=self._model or servers[0].address, context_tokens=self._options.context_tokens)
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        """By a digest: what people have written is in no cache, also when they have erased it."""
        self._prefixes = KnownPrefixes(block=_COMPARED_BYTES)
        self._format: Format | None = None
        self._opens: bool | None = False
        """The model's template begins the reasoning, and the server does not take it apart; None: nobody can tell."""
        self._told = False
        """The server has shown how its prompts end."""
        self._progress = ""
        self._closed = False
        self._suspects = Suspects()

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def slots(self) -> int:
        return self._options.slots * len(self._replicas)

    @property
    def steps(self) -> int:
        return sum(replica.client.heard for replica in self._replicas)

    @property
    def progress(self) -> str:
        return self._progress

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
        """A server that is away is not for us to replace: its replica rests, and is used again when it is back."""

    async def start(self) -> None:
        """Asks every server for its models; one that answers is enough. One that loads its model is waited for."""
        for replica in self._replicas:
            await asyncio.to_thread(replica.client.connect)
        while True:
            try:
                await self._learn((await self._listed())[0])
                return
            except ServerAway as away:
                if not away.loads and not self._options.patient:
                    raise
                self._progress = f"waiting for {away.why}"
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _listed(self) -> list[dict[str, Any]]:
        """The models of the first server that answers. Raises InferenceError; Away: one of them may answer soon."""
        failures: list[InferenceError] = [Unavailable("no server is configured")]
        models: list[dict[str, Any]] = []
        for replica in self._replicas:
            try:
                found = await replica.client.models()
            except Elsewhere as elsewhere:
                failures.append(elsewhere.error)
                self._mark_failed(replica, elsewhere.error)
            else:
                models = models or found
        if models:
            return models
        raise max(failures[::-1], key=_hope)

    async def close(self) -> None:
        self._closed = True
        for replica in self._replicas:
            await replica.client.close()

    async def generate(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """Waits for servers that load their model, do not listen, or have hung up, for as long as the caller does.

        An answer that had begun goes on from its text, where servers can be made to.
        """
        with self._suspects.trial(_LOSSES) as trial:
            async with aclosing(self._over_servers(request, trial)) as outputs:
                async for output in outputs:
                    yield output

    async def _over_servers(self, request: ChatRequest, trial: Trial) -> AsyncGenerator[Output, None]:
        so_far, has_waited = PartialAnswer(), False
        while True:
            await trial.begins()
            try:
                async with aclosing(self._by_one_of_them(so_far.rest_of(request))) as outputs:
                    async for output in outputs:
                        if isinstance(output, Piece) and output.text:
                            has_waited = False
                            trial.goes_on()
                        for news in so_far.take(output):
                            yield news
                return
            except Elsewhere as elsewhere:
                may_go_on = not isinstance(elsewhere.error, ServerLost) or trial.ended()
                trial.is_over()
                is_over = bool(so_far.text) and not self._info.holds_prefix
                # Who has begun to read waits for a server that wants to be left alone for a moment, too.
                waits = isinstance(elsewhere.error, ServerAway) or (
                    bool(so_far.text) and _is_soon_free(elsewhere.error)
                )
                if is_over or not may_go_on or not waits:
                    raise elsewhere.error from elsewhere
            yield Progress() if has_waited else Replacing()
            has_waited = True
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _by_one_of_them(self, request: ChatRequest) -> AsyncGenerator[Output, None]:
        """Raises Elsewhere: no server has answered; with Away where none did anything else with the request."""
        prompt_tokens, room = await self._room(request.messages)
        tried: list[Replica[Server]] = []
        failure = self._all_busy()
        while (replica := await self._choose(request.owner, tried)) is not None:
            tried.append(replica)
            begun = False
            try:
                with replica.working():
                    async with aclosing(self._answer(replica, request, prompt_tokens, room)) as outputs:
                        async for output in outputs:
                            begun = True
                            yield output
                replica.succeeded()
                return
            except Elsewhere as elsewhere:
                if not elsewhere.alone:
                    self._mark_failed(replica, elsewhere.error)
                if begun or len(tried) == 1 or not isinstance(elsewhere.error, ServerAway):
                    failure = elsewhere.error
                if begun:
                    break
        raise Elsewhere(failure)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """By the server where it has a tokenizer for us, otherwise an estimate that is rather too high."""
        return (await self._counted(messages))[0]

    async def _counted(self, messages: Sequence[Message]) -> tuple[int, bool]:
        """The tokens of the prompt, and whether they were counted and not estimated."""
        if self._closed:
            raise Unavailable("the engine is closed")
        key = _digest(messages)
        if (known := self._counts.get(key)) is not None:
            self._counts.move_to_end(key)
            return known, True
        replica = await self._choose("", []) if self._dialect.counting != "none" else None
        if replica is None:
            return estimate(messages), False
        try:
            async with asyncio.timeout(_COUNT_S):
                count = await count_within(messages, self._info.context_tokens, partial(self._ask, replica.client))
        except (Elsewhere, UnsupportedRequest, TimeoutError) as error:
            log.debug("%s does not count tokens: %s", replica.address, error)
            return estimate(messages), False
        self._counts[key] = count
        if len(self._counts) > _REMEMBERED_COUNTS:
            self._counts.popitem(last=False)
        return count, True

    async def _ask(self, server: Server, messages: Sequence[Message]) -> int:
        count, _ = await server.tokenize(self._dialect, self._model, messages)
        return count

    async def _room(self, messages: Sequence[Message]) -> tuple[int, int | None]:
        """Tokens of the prompt, and what the context leaves for the answer (None where that is only estimated)."""
        count, exact = await self._counted(messages)
        context = self._info.context_tokens
        if exact and count >= context:
            raise TooLong(context, count)
        return count, context - count if exact else None

    async def _choose(self, owner: str, tried: Sequence[Replica[Server]]) -> Replica[Server] | None:
        """A replica that failed lately is used again only when it lists its models."""
        unfit = list(tried)
        while (replica := choose(self._replicas, owner, unfit, self._clock())) is not None:
            if not replica.failures or len(self._replicas) == 1:
                return replica
            unfit.append(replica)
            try:
                async with asyncio.timeout(_CHECK_S):
                    await replica.client.models()
            except Elsewhere as elsewhere:
                self._mark_failed(replica, elsewhere.error)
            except TimeoutError as error:
                self._mark_failed(replica, error)
            else:
                replica.succeeded()
                return replica
        return None

    def _mark_failed(self, replica: Replica[Server], error: Exception) -> None:
        is_known = replica.is_away and isinstance(error, ServerAway)
        if isinstance(error, Busy):
            replica.refused_for(self._clock(), error.retry_in_s)
        else:
            replica.failed(self._clock(), is_away=isinstance(error, ServerAway))
        log.log(logging.DEBUG if is_known else logging.WARNING, "server %s: %s", replica.address, error)

    def _all_busy(self) -> InferenceError:
        waits = [replica.rests_until - self._clock() for replica in self._replicas if replica.penalised]
        if waits:
            return Busy(max(1.0, min(waits)))
        why = "no server answers"
        return ServerAway(why, loads=True) if any(replica.is_away for replica in self._replicas) else Unavailable(why)

    async def _answer(
        self, replica: Replica[Server], request: ChatRequest, prompt_tokens: int, room: int | None
    ) -> AsyncGenerator[Output, None]:
        """Asks in every way that there is until the server takes one."""
        asking = Asking(request, self._dialect, self._model, room, replica.refuses.at(self._clock()), self._format)
        prefix = self._prefixes.of(request.owner, _compared(request.messages)) if self._dialect.keeps_prompts else None
        begun = False
        while True:
            body = asking.body()
            if prefix is not None and not prefix.may_reuse:
                body["cache_prompt"] = False
            try:
                reader = Reader(
                    prompt_tokens,
                    counted=room is not None,
                    inside=False if request.prefix else self._opens,
                    drop_reasoning=asking.emulated,
                    format=self._format,
                    orphans=not self._told or self._format is not None or self._info.reasoning,
                )
                async with aclosing(self._stream(replica.client, request, body, reader)) as outputs:
                    async for output in outputs:
                        begun |= isinstance(output, Piece)
                        yield output
                if prefix is not None:
                    prefix.read()
            except UnsupportedRequest as refusal:
                if refusal.names_model and await self._serves_another_model(replica):
                    rest = self._answer(replica, request, prompt_tokens, room)
                    async with aclosing(rest) as outputs:
                        async for output in outputs:
                            yield output
                    return
                if not asking.after(refusal):
                    raise RequestRejected(f"{replica.address} refuses the request: {refusal}") from refusal
                log.info("server %s refuses a request, it is asked otherwise: %s", replica.address, refusal)
                continue
            except TooLong as long:
                self._reads_less(replica, long.limit)
                left = long.limit - long.tokens
                if begun or left <= 0 or (room is not None and room <= left):
                    raise
                # The prompt fits; only with the answer it was too much: an estimate, or a prefix that was not counted.
                rest = self._answer(replica, request, long.tokens, left)
                async with aclosing(rest) as outputs:
                    async for output in outputs:
                        yield output
            self._remember(replica, request, asking, body)
            return

    async def _serves_another_model(self, replica: Replica[Server]) -> bool:
        """Whether the server was started again with another model, which is known now."""
        model = (await replica.client.models())[0]
        if model["id"] == self._model:
            return False
        log.warning("server %s has another model now: %s in place of %s", replica.address, model["id"], self._model)
        await self._learn(model)
        return True

    def _reads_less(self, replica: Replica[Server], context_tokens: int) -> None:
        """Prompts are made for the shortest context that a server has turned out to have."""
        if 0 < context_tokens < self._info.context_tokens:
            log.warning(
                "server %s reads %d tokens, and not %d", replica.address, context_tokens, self._info.context_tokens
            )
            self._info = replace(self._info, context_tokens=context_tokens)

    def _remember(self, replica: Replica[Server], request: ChatRequest, asking: Asking, body: dict[str, Any]) -> None:
        """What a server that has answered has said of the fields on the way there."""
        now = self._clock()
        if asking.plain:
            replica.refuses.plain_helped(request.owner, asking.plain, now)
        elif not asking.emulated:
            replica.refuses.taken(body)
        if asking.unknown:
            replica.refuses.refused(asking.unknown, now)
            log.warning("server %s does not know %s: left out for a while", replica.address, sorted(asking.unknown))

    async def _stream(
        self, server: Server, request: ChatRequest, body: dict[str, Any], reader: Reader
    ) -> AsyncGenerator[Output, None]:
        # Some servers end at a stop string and send it all the same.
        stops = StopFilter(request.sampling.stop)
        try:
            async with aclosing(server.chunks(body)) as chunks:
                async for chunk in chunks:
                    for output in stops.take(reader.take(chunk)):
                        yield output
                    if stops.met:
                        return
            for output in stops.take(reader.end()):
                yield output
        except (Malformed, Elsewhere, Filtered) as error:
            goes_on = isinstance(error, Elsewhere) and isinstance(error.error, ServerLost) and self._info.holds_prefix
            for output in () if goes_on else stops.rest():  # it is written again, and may be a stop string
                yield output
            if isinstance(error, Malformed):
                raise Elsewhere(Unavailable(f"{server.address}: {error}")) from error
            raise
        finally:
            if not request.prefix:
                self._heed(reader)

    def _heed(self, reader: Reader) -> None:
        """What an answer has told of how the server hands on reasoning."""
        if reader.reasoned:
            self._opens = False
            self._info = replace(self._info, reasoning=True)
        elif self._told or reader.opens is None:
            return
        elif reader.opens:
            # An answer that only speaks of the mark looks the same: of other models it proves nothing.
            self._opens = True if self._info.reasoning else None
        else:
            self._opens = None if self._opens else False

    async def _learn(self, model: dict[str, Any]) -> None:
        """What the server's own description of the model tells. Raises Away: some list a model that they still load."""
        self._model = str(model["id"])
        self._dialect = dialect_of(model)
        name = self._model.rstrip("/").rpartition("/")[2]
        opened: Format | None = None
        replica = await self._choose("", [])
        if replica is not None and self._dialect.counting != "none":
            try:
                probe = [Message("user", "x")]
                _, ending = await replica.client.tokenize(self._dialect, self._model, probe)
                self._told = bool(ending)
                opened = opened_by(ending)
            except (Elsewhere, UnsupportedRequest) as error:
                if isinstance(error, Elsewhere) and isinstance(error.error, ServerAway):
                    raise error.error from error
                self._dialect = replace(self._dialect, counting="none")
        self._format = opened or named(name)
        doubtful = not self._told and seems_to_reason(name) and (self._format is None or self._format.in_template)
        self._opens = None if doubtful else opened is not None
        self._info = ModelInfo(
            name=name.removesuffix(".gguf"),
            context_tokens=context_of(model) or self._options.context_tokens,
            reasoning=bool(opened) or seems_to_reason(name),
            holds_prefix=self._dialect.continues is not None,
            reference=self._model,
        )


def _hope(failure: InferenceError) -> int:
    """How likely the server answers soon: it loads its model, does not listen yet, or has failed otherwise."""
    return 1 + failure.loads if isinstance(failure, ServerAway) else 0


def _is_soon_free(error: InferenceError) -> bool:
    return isinstance(error, Busy) and error.retry_in_s <= _BUSY_S


def _compared(messages: Sequence[Message]) -> bytes:
    """Conversations with the same beginning have the same beginning."""
    return "\0".join(f"{message.role}\0{message.content}" for message in messages).encode("utf-8", "surrogatepass")


def _digest(messages: Sequence[Message]) -> bytes:
    """Tells conversations apart, and holds none of their words."""
    return sha256(repr([(message.role, message.content) for message in messages]).encode()).digest()


def addresses_of(reference: str) -> list[str]:
    """The addresses in a model reference.

    Raises:
        Unavailable: one of them is no address; the message says what one looks like.
    """
    found = [part.strip() for part in reference.split(",") if part.strip()]
    for address in found:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable(f"{without_user(address)!r} is no address of a server: write http://host:8000/v1")
    return found
