"""One answer over several runs: what has been said, the request for the rest, and the figures of the whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from inference.api import ChatRequest, Event, Finished, Message, Reclassified, Text, Thinking, Usage
from inference.reasoning.formats import CLOSE, OPEN
from inference.reasoning.prefix import handed_on
from inference.reasoning.splitter import Part, PartKind, Splitter
from inference.serving.generation import UsageMeter

CountMessageTokens = Callable[[Sequence[Message]], Awaitable[int]]


class Resumption:
    """What one request has got already.

    The rest is asked for with the text so far as its prefix, which is tokenised again: it goes on from the text, not
    from the state of the engine that was lost.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        splitter = Splitter()
        parts = splitter.feed(request.prefix)
        self._inside = splitter.thinking
        parts += splitter.close()
        self._before = {Text: _words(parts, "answer"), Thinking: _words(parts, "thinking")}
        self._late = False
        """There was reasoning after text, where the mark of a beginning may be mere text."""
        self._written = ""
        self._said = {Text: "", Thinking: ""}
        self._reclassified = False
        self._tokens = {Text: 0, Thinking: 0}
        """Of what earlier runs said, tokenised again."""

    @property
    def is_begun(self) -> bool:
        return bool(self._written)

    def take(self, event: Event) -> Event:
        """The event, which is one more step."""
        if isinstance(event, Reclassified):
            for words in (self._before, self._said):
                words[Thinking], words[Text] = words[Thinking] + words[Text], ""
            self._reclassified = True
        if isinstance(event, Text | Thinking):
            thinks = isinstance(event, Thinking)
            if thinks and not self._inside:
                self._late |= bool(self._before[Text] + self._said[Text])
                self._written += OPEN
            elif self._inside and not thinks:
                # On a line of its own it is a mark, whatever code the reasoning left open.
                self._written += f"\n{CLOSE}\n\n"
            self._inside = thinks
            self._written += event.text
            self._said[type(event)] += event.text
        return event

    async def rest(self, count: CountMessageTokens) -> ChatRequest:
        """The request for what is still to be said, with what is left of its budgets; never for nothing at all."""
        if not self.is_begun:
            return self._request
        self._tokens = {kind: await _tokens(text, count) for kind, text in self._said.items()}
        sampling = self._request.sampling
        room = max(1, sampling.max_new_tokens - self._tokens[Text])
        budget = sampling.thinking_budget
        return replace(
            self._request,
            prefix=self._prefix,
            sampling=replace(
                sampling,
                max_new_tokens=room,
                min_new_tokens=min(room, max(0, sampling.min_new_tokens - self._tokens[Text])),
                thinking_budget=None if budget is None else max(0, budget - self._tokens[Thinking]),
            ),
        )

    @property
    def _prefix(self) -> str:
        if not self._late and not self._reclassified:
            return self._request.prefix + self._written
        thought, said = (self._before[kind] + self._said[kind] for kind in (Thinking, Text))
        return handed_on(thought, said)

    def whole(self, finished: Finished, meter: UsageMeter) -> Finished:
        """The end of the last run as the end of the whole answer.

        The time is that since the request arrived, waits included; the rate is that of the last run.
        """
        usage, now = finished.usage, meter.clock()
        before = self._tokens[Text] + self._tokens[Thinking]
        return Finished(
            finished.reason,
            Usage(
                prompt_tokens=max(0, usage.prompt_tokens - before),
                completion_tokens=usage.completion_tokens + self._tokens[Text],
                thinking_tokens=usage.thinking_tokens + self._tokens[Thinking],
                cached_tokens=usage.cached_tokens,
            ),
            replace(
                finished.timings,
                time_to_first_token_s=None if meter.first is None else meter.first - meter.arrived,
                total_s=now - meter.arrived,
            ),
        )


def _words(parts: Sequence[Part], wanted: PartKind) -> str:
    return "".join(text for kind, text in parts if kind == wanted)


async def _tokens(text: str, count: CountMessageTokens) -> int:
    """The tokens of a text by itself, without those of the template."""
    if not text:
        return 0
    # As a question: some templates refuse to begin with an answer, others leave the reasoning out of one.
    return await count([Message("user", text)]) - await count([Message("user", "")])
