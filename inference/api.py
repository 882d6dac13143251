"""The face of inference: requests, events, errors and the `Inference` protocol.

Everything above (`bots`, `adapters`) sees only this module, and it needs only the standard library: whoever asks for
text never pays for torch. In process (`LocalInference`) and over HTTP (`RemoteInference`) are the same protocol.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
Reason = Literal["stop", "length", "cancelled"]
Standing = Literal["guest", "new", "known"]
"""How well an owner is known: `known` for over a day, `new`, or a `guest` whose account costs nothing to make."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as plain text; control tokens in it are text and are never parsed."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Names and meanings are those of transformers and vLLM.

    `temperature == 0` means greedy. `top_k == 0` means all tokens. `repetition_penalty` counts prompt and output,
    `presence_penalty` the output alone. `max_new_tokens` and `min_new_tokens` count the answer, `thinking_budget`
    counts the tokens of reasoning before it (`None`: as many as the context allows beside an answer).

    Raises:
        ValueError: a value outside its mathematical range; the message names the field and the range.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    max_new_tokens: int = 500
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    seed: int | None = None
    min_new_tokens: int = 0
    stop: tuple[str, ...] = ()
    thinking_budget: int | None = 1024

    def __post_init__(self) -> None:
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        _within("max_new_tokens", self.max_new_tokens, 1, 2**31 - 1)
        _within("top_k", self.top_k, 0, 2**31 - 1)
        _within("repetition_penalty", self.repetition_penalty, 0.01, 10)
        _within("presence_penalty", self.presence_penalty, -2, 2)
        _within("min_new_tokens", self.min_new_tokens, 0, self.max_new_tokens)
        if self.seed is not None:
            _within("seed", self.seed, 0, 2**32 - 2)
        if self.thinking_budget is not None:
            _within("thinking_budget", self.thinking_budget, 0, 2**31 - 1)
        if self.top_p == 0:
            raise ValueError("top_p must be greater than 0")
        if not all(self.stop):
            raise ValueError("stop must hold no empty string")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One answer that somebody asked for.

    `id` is unique and names the request in logs and in `Inference.cancel`; `owner` is the fairness key (a person,
    whatever the platform); `prefix` is assistant text to continue from, its reasoning between `<think>` and
    `</think>` whatever the model's own marks are: `<think>reasoning` goes on with the reasoning. `standing` decides who
    gives way when the queue is full, and so does `group`: the group or server in which it was asked, "" in private.
    """

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    owner: str
    prefix: str = ""
    standing: Standing = "new"
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """One picture to describe: `image` holds an encoded picture from a stranger.

    `prompt` is what the caption begins with, or, where the captioner answers questions, the question.
    """

    id: str
    image: bytes = field(repr=False)
    owner: str
    prompt: str = ""
    standing: Standing = "new"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits: `position` 1 is next; `eta_s` is the expected wait in seconds, None while nothing is known.

    `position` 0: the service is away for a moment, and the request goes on when it is back; possible at any time.
    """

    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Loading:
    """Why nothing can be answered yet: the language model, or what looks at pictures, is not there.

    `share`: so much of it is loaded, from 0 to 1; None where nobody can tell. "away": the service is not reached.
    "failed": it cannot be loaded; the program ends, and the next start answers.
    """

    what: Literal["model", "pictures"] = "model"
    share: float | None = None
    state: Literal["loading", "away", "failed"] = "loading"


@dataclass(frozen=True, slots=True)
class Thinking:
    """More reasoning text (a delta)."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """More answer text (a delta)."""

    text: str


@dataclass(frozen=True, slots=True)
class Reclassified:
    """All `Text` until here, that of the request's `prefix` included, was reasoning: its end came without a beginning.

    At most once in a stream. What follows is the answer.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts in tokens; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    thinking_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds by the monotonic clock, from the moment when the request arrived.

    `tokens_per_s` is the rate of decoding: tokens after the first one over the time after the first one.
    """

    queued_s: float = 0.0
    time_to_first_token_s: float | None = None
    total_s: float = 0.0
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a stream, exactly once.

    `length`: the answer has used up its tokens or its time, and can be continued.
    """

    reason: Reason
    usage: Usage
    timings: Timings


Event = Queued | Thinking | Text | Reclassified | Finished


@dataclass(frozen=True, slots=True)
class Caption:
    """What the captioner saw."""

    text: str
    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What callers may know of the models behind the service.

    `context_tokens` bounds prompt and answer together. `holds_prefix`: an answer can be made to begin with a given
    text. `continues`: an answer that was cut off can go on from its text. `captioner` is None where no captioner is
    configured; `captioner_answers`: it was trained for questions about pictures. `reference` is the hub id where there
    is one, and never a path; `revision` tells two checkpoints of the same name apart: a commit or a hash of the files,
    "" where it is not known.
    """

    name: str
    context_tokens: int
    reasoning: bool = False
    holds_prefix: bool = False
    continues: bool = True
    captioner: str | None = None
    demo_captioner: bool = False
    captioner_answers: bool = False
    reference: str = ""
    revision: str = ""


class InferenceError(Exception):
    """Why there is no answer; each kind has its own sentence in `bots.wording`."""


class Busy(InferenceError):
    """The queue is full; `retry_in_s` is when a place should be free.

    `gave_way`: the request had a place, and somebody who had fewer needed it. The owner's next request gets its turn.
    """

    def __init__(self, retry_in_s: float, *, gave_way: bool = False) -> None:
        what = "the request gave its place to somebody with fewer" if gave_way else "the queue is full"
        super().__init__(f"{what}, retry in {retry_in_s:.0f} s")
        self.retry_in_s = retry_in_s
        self.gave_way = gave_way


class TooLong(InferenceError):
    """The prompt has `tokens` tokens and only `limit` are allowed; nothing was sent to the model."""

    def __init__(self, limit: int, tokens: int) -> None:
        super().__init__(f"the prompt has {tokens} tokens, the limit is {limit}")
        self.limit = limit
        self.tokens = tokens


class Filtered(InferenceError):
    """A filter of the model's server has ended or refused the answer; what was yielded until then stands.

    Asking the same again rarely helps. The message is for the log.
    """


class BadImage(InferenceError):
    """The picture cannot be used; `why` is a clause for a person ("it is larger than 20 MB")."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Unavailable(InferenceError):
    """The engine cannot answer now; `why` is for the log, never for a chat."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class OutOfMemory(Unavailable):
    """The device has no memory for this request; others go on, and a smaller one may do."""


class Interrupted(InferenceError):
    """The service gave this request up: it is being stopped, or its process ended. Nobody asked for that.

    What was yielded until then stands. The same request with the text so far as its `prefix` goes on from it, as soon
    as the service is back. Never recorded as an ending: the reply stays as a crash would have left it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Cancelled(InferenceError):
    """The caption was given up by `Inference.cancel`; a stream that is cancelled ends with `Finished` instead."""


class Inference(Protocol):
    """One shared inference service, whatever machine it runs on."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def is_away(self) -> bool:
        """Whether what is asked waits for the service itself: it is not reached, or its engine is being replaced."""
        ...

    def loading(self, what: Literal["model", "pictures"] = "model") -> Loading | None:
        """What a start, or a first picture, is busy with at the moment; None where nobody waits for that."""
        ...

    async def ready(self) -> None:
        """Returns when the model is loaded; until then `info` is a guess, and nothing else may be asked.

        Raises:
            Interrupted: the service is being stopped, also because its model cannot be loaded.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Yields `Queued`, `Thinking`, `Text`, `Reclassified` events and ends with exactly one `Finished`.

        Close the generator (`contextlib.aclosing`) to give up: the engine stops within one decode step.

        Raises:
            Busy, TooLong, Filtered, Unavailable, Interrupted: before or instead of `Finished`; text that was yielded
                until then stands.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """A person wants it no more: ends that request's stream with `Finished("cancelled", …)`, its caption with
        `Cancelled`. Unknown ids are ignored."""
        ...

    async def caption(self, request: CaptionRequest) -> Caption:
        """Describes one picture.

        Raises:
            BadImage, Busy, Unavailable, Cancelled, Interrupted.
        """
        ...

    async def forget_captions(self) -> None:
        """Drops what is remembered of pictures, whoever sent them: somebody's data are being erased.

        Raises:
            Unavailable: the service is not reached; what it remembers ends with it, or after 15 minutes.
        """
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """The length in tokens of the prompt that the model's chat template makes of `messages`.

        Raises:
            Unavailable, Interrupted.
        """
        ...


class Service(Inference, Protocol):
    """An `Inference` as its owner sees it: begun once, drained and closed at the end."""

    async def start(self) -> None:
        """Returns when it can answer.

        Raises:
            Unavailable: the model cannot be loaded, or the service not be reached.
        """
        ...

    async def drain(self, deadline_s: float) -> None:
        """Takes nothing new, lets what runs finish until the deadline, then gives up the rest: `Interrupted`."""
        ...

    async def close(self) -> None: ...
