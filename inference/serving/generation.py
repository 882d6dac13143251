"""One answer from an engine: reasoning apart from text, each with its own budget, counted and clocked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from inference.api import (
    ChatRequest,
    Event,
    Finished,
    Queued,
    Reason,
    Reclassified,
    Sampling,
    Text,
    Thinking,
    Timings,
    TooLong,
    Usage,
)
from inference.engines.port import Closed, Engine, Opened, Output, Progress, Replacing
from inference.queueing.admission import Ticket
from inference.reasoning.prefix import handed_on
from inference.reasoning.splitter import Part, Splitter, reclassified

# Of the room that a prompt leaves in the context, the reasoning leaves at least this share to the answer, if it may
# be as long.
_ANSWER_SHARE = 4


@dataclass(slots=True)
class UsageMeter:
    """Counts and clocks one answer."""

    clock: Callable[[], float]
    arrived: float
    started: float | None = None
    first: float | None = None
    last: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    """None until the engine has told."""
    tokens: dict[type, int] = field(default_factory=lambda: {Thinking: 0, Text: 0})

    def token(self, kind: type, count: int) -> None:
        self.last = self.clock()
        self.first = self.last if self.first is None else self.first
        self.tokens[kind] += count

    def reclassify(self) -> None:
        """The text so far was reasoning."""
        self.tokens = {Thinking: sum(self.tokens.values()), Text: 0}

    @property
    def spent(self) -> int:
        return self.prompt_tokens - (self.cached_tokens or 0) + sum(self.tokens.values())

    def finished(self, reason: Reason) -> Finished:
        usage = Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens[Text],
            thinking_tokens=self.tokens[Thinking],
            cached_tokens=self.cached_tokens or 0,
        )
        rate = None
        if self.first is not None and self.last is not None and self.last > self.first:
            rate = (sum(self.tokens.values()) - 1) / (self.last - self.first)
        now = self.clock()
        return Finished(
            reason,
            usage,
            Timings(
                queued_s=(now if self.started is None else self.started) - self.arrived,
                time_to_first_token_s=None if self.first is None else self.first - self.arrived,
                total_s=now - self.arrived,
                tokens_per_s=rate,
            ),
        )


class Generation:
    """One answer from the engine, with the budgets of reasoning and text.

    When the reasoning has used up its budget, or the model ended without leaving it, the reasoning is closed and the
    answer goes on from there: the engine continues from all that was said. It does so, too, where what seemed to be
    the answer turned out to be reasoning and has used up the answer's tokens. A context without room for that ends
    the answer with `length`.
    """

    def __init__(self, engine: Engine, request: ChatRequest, ticket: Ticket, meter: UsageMeter) -> None:
        self._engine = engine
        self._request = request
        self._ticket = ticket
        self._meter = meter
        self._prefix = request.prefix
        self._thought = self._said = ""
        self._splitter = Splitter()
        self._prime()
        self._apart = False
        """The newest text is reasoning that a server keeps apart."""
        self._widened = False
        """The engine may write more than the answer may have, because it may reason first."""
        self._reclassified = False
        self._closed_thinking = bool(self._thought) and not self._splitter.thinking
        self._budget = request.sampling.thinking_budget
        self._again = False
        """This is the second run, whose prompt holds the reasoning of the first."""
        self.reason: Reason = "stop"

    async def events(self) -> AsyncGenerator[Event, None]:
        async with aclosing(self._run()) as events:
            async for event in events:
                yield event
        if not self._must_close_thinking() and not self._must_go_on():
            return
        self._closed_thinking = self._again = True
        self._prefix = handed_on(self._thought, self._said)
        self._apart = False
        try:
            async with aclosing(self._run()) as events:
                async for event in events:
                    yield event
        except TooLong:
            # Not the prompt, which the engine has taken: the reasoning has filled the context.
            self.reason = "length"

    def _prime(self, opened: Opened | None = None) -> None:
        """Begins to split behind what was said already."""
        if opened is None:
            self._splitter = Splitter(orphans=True)
        else:
            self._splitter = Splitter(opened.format, inside=opened.thinking, orphans=opened.orphans)
        parts = reclassified([*self._splitter.feed(self._prefix), *(self._splitter.settle() if self._prefix else ())])
        if self._prefix:
            self._splitter.take_any_end()
        self._thought = "".join(text for kind, text in parts if kind == "thinking")
        self._is_block_over = bool(self._thought) and not self._splitter.thinking
        self._said = "".join(text for kind, text in parts if kind == "answer")

    @property
    def _thinking(self) -> bool:
        """Whether the newest text is reasoning."""
        return self._apart or self._splitter.thinking

    async def _run(self) -> AsyncGenerator[Event, None]:
        request = replace(self._request, prefix=self._prefix, sampling=self._limits())
        async with aclosing(self._engine.generate(request)) as outputs:
            while (output := await self._ticket.wait(anext(outputs, None))) is not None:
                for event in self._take(output):
                    yield event
                if self._over_budget():
                    break
        for event in self._events(self._splitter.close(cut=self.reason == "length"), 0):
            yield event

    def _limits(self) -> Sampling:
        sampling = self._request.sampling
        said = self._meter.tokens[Text]
        room = max(1, sampling.max_new_tokens - said)
        if self._closed_thinking or not self._engine.info.reasoning:
            return replace(sampling, max_new_tokens=room, min_new_tokens=min(sampling.min_new_tokens, room))
        self._widened = True
        budget = sampling.thinking_budget
        return replace(sampling, max_new_tokens=2**31 - 1 if budget is None else room + budget)

    def _take(self, output: Output) -> list[Event]:
        if isinstance(output, Progress):
            return []
        if isinstance(output, Replacing):
            return [Queued(0, None)]
        if isinstance(output, Opened):
            self._meter.prompt_tokens = self._meter.prompt_tokens or output.prompt_tokens
            if output.counted:
                self._budget = self._within_context(output.prompt_tokens)
            self._prime(output)
            return []
        if isinstance(output, Closed):
            self.reason = output.reason
            self._count_prompt(output)
            return []
        if not output.thinking:
            self._apart = self._apart and not output.text.strip()
            return self._events(self._splitter.feed(output.text), output.tokens)
        self._apart = self._apart or bool(output.text)
        return self._events([*self._splitter.enter(), ("thinking", output.text)], output.tokens)

    def _within_context(self, prompt_tokens: int) -> int | None:
        """The tokens that the reasoning may have, so that the answer keeps some of the context."""
        sampling = self._request.sampling
        room = max(1, self._engine.info.context_tokens - prompt_tokens)
        most = room - min(sampling.max_new_tokens, room // _ANSWER_SHARE)
        return most if sampling.thinking_budget is None else min(sampling.thinking_budget, most)

    def _count_prompt(self, closed: Closed) -> None:
        meter = self._meter
        if not self._again:
            meter.prompt_tokens = closed.prompt_tokens or meter.prompt_tokens
        if meter.cached_tokens is None:
            # A first run that was cut did not tell; what the second one found is the most that it can have been.
            meter.cached_tokens = min(closed.cached_tokens, meter.prompt_tokens)

    def _events(self, parts: Sequence[Part], count: int) -> list[Event]:
        """The parts as events."""
        events: list[Event] = []
        if any(kind == "orphan" for kind, _ in parts):
            parts = self._reclassify(parts)
            events.append(Reclassified())
        self._count(parts, count)
        for name, text in parts:
            if name == "thinking" and text:
                text = self._gap() + text
                self._thought += text
                events.append(Thinking(text))
            elif name == "answer":
                self._said += text
                events.append(Text(text))
            if name == "thinking" or text.strip():
                self._is_block_over = name != "thinking" and bool(self._thought)
        return events

    def _gap(self) -> str:
        """Stands between two blocks of reasoning."""
        newlines = len(self._thought) - len(self._thought.rstrip("\n"))
        return "\n" * max(0, 2 - newlines) if self._is_block_over else ""

    def _reclassify(self, parts: Sequence[Part]) -> list[Part]:
        """The parts, whose answer before the orphan was reasoning, like all that was said before them."""
        self._meter.reclassify()
        self._thought, self._said = self._thought + self._said, ""
        self._reclassified = self._closed_thinking = True
        return reclassified(parts)

    def _must_go_on(self) -> bool:
        """Whether the engine ended the answer at its length before it had the tokens that are the answer's own."""
        room = self._meter.tokens[Text] < self._request.sampling.max_new_tokens
        return self._reclassified and not self._again and self.reason == "length" and room

    def _count(self, parts: Sequence[Part], count: int) -> None:
        """A token counts to what the text is in when it ends; of several, which a busy server sends at once, to each
        kind as many as its share of the text."""
        ending, earlier = (Thinking, Text) if self._thinking else (Text, Thinking)
        lengths = {Thinking: 0, Text: 0}
        for name, text in parts:
            if name != "mark":
                lengths[Thinking if name == "thinking" else Text] += len(text)
        share = count * lengths[earlier] // max(1, sum(lengths.values())) if count > 1 else 0
        for kind, tokens in ((earlier, share), (ending, count - share)):
            if tokens:
                self._meter.token(kind, tokens)

    def _over_budget(self) -> bool:
        sampling = self._request.sampling
        if self._thinking:
            over = self._budget is not None and self._meter.tokens[Thinking] >= self._budget
            if over:
                self.reason = "length"
            return over
        if self._meter.tokens[Text] >= sampling.max_new_tokens and (self._widened or self._thought):
            self.reason = "length"
            return True
        return False

    def _must_close_thinking(self) -> bool:
        """Only once: a model that goes back to reasoning after all is taken at its word. One that ends by itself in
        further reasoning has answered before.
        """
        if not self._thinking or self._closed_thinking:
            return False
        room = self._meter.tokens[Text] < self._request.sampling.max_new_tokens
        return (self.reason == "length" and room) or not self._said.strip()
